# Who publishes what: shared/events.py, PUBLISHERS, topic by topic; tests/terraform/test_events.py compares.

locals {
  # PUBLISHERS' words to IAM members. A set is empty while nobody is named, or while the inner project is not there.
  publishers = {
    "attestation"            = [module.attestation.member]
    "Cloud Build"            = ["serviceAccount:${local.builder}", "serviceAccount:${local.rebuilder}"]
    "Cloud Scheduler"        = [local.scheduler_agent]
    "data services"          = sort(values(local.data_services))
    "independent rebuilders" = var.rebuilders
    "inner"                  = var.inner == null ? [] : [var.inner.function]
    "inner VM"               = var.inner == null ? [] : [var.inner.vm]
    "operator"               = var.operators
    "outer"                  = [module.outer.member]
    "outer VM"               = ["serviceAccount:${local.outer_vm}"]
    "relying parties"        = var.relying_parties
    "scanner"                = [module.scanner.member]
    "sync"                   = [module.sync.member]
  }

  publishes = {
    "advisories-refreshed"    = ["Cloud Scheduler", "operator", "scanner"]
    "attestation-appraised"   = ["attestation"]
    "attestation-requested"   = ["data services"]
    "cancel-requested"        = ["operator"]
    "dead-letter-dropped"     = ["operator"]
    "holdings-listed"         = ["sync"]
    "image-built"             = ["Cloud Build", "independent rebuilders"]
    "inner-install-completed" = ["inner VM"]
    "manifest-published"      = ["outer"]
    "nonce-issued"            = ["attestation"]
    "nonce-registered"        = ["relying parties"]
    "nonce-requested"         = ["inner", "relying parties", "operator"]
    "outer-install-completed" = ["outer VM"]
    "package-evicted"         = ["sync"]
    "reference-changed"       = ["attestation"]
    "reference-revoked"       = ["operator"]
    "run-completed"           = ["inner"]
    "run-failed"              = ["outer", "scanner", "sync", "inner", "attestation"]
    "run-requested"           = ["operator", "Cloud Scheduler", "sync"]
    "sweep-requested"         = ["Cloud Scheduler", "operator"]
    "sync-completed"          = ["sync"]
    "sync-shard-planned"      = ["sync"]
    "verdict-changed"         = ["scanner"]
    "verdicts-written"        = ["scanner"]
    "waiver-granted"          = ["operator"]
    "waiver-revoked"          = ["operator"]
  }

  stages = ["attestation", "inner", "outer", "scanner", "sync"]

  grants_on_topics = merge([for topic, names in local.publishes : merge([for name in names :
    { for member in local.publishers[name] : "${topic} ${member}" => { topic = topic, member = member } }
  ]...)]...)
}

resource "google_pubsub_topic_iam_member" "publisher" {
  for_each = local.grants_on_topics

  project = var.project
  topic   = google_pubsub_topic.event[each.value.topic].name
  role    = "roles/pubsub.publisher"
  member  = each.value.member
}

# A stage keeps what it cannot handle with the reason; Pub/Sub keeps what a stage never answered.
resource "google_pubsub_topic_iam_member" "dead_letters" {
  for_each = toset(concat(
    flatten([for stage in local.stages : local.publishers[stage]]),
    [local.pubsub_agent],
    var.inner == null ? [] : [var.inner.pubsub_agent],
  ))

  project = var.project
  topic   = google_pubsub_topic.dead_letters.name
  role    = "roles/pubsub.publisher"
  member  = each.value

  depends_on = [google_project_service_identity.agent]
}
