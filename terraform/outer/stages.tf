# The stages of this project, one module each; the inner one is terraform/inner's. What each hears is
# shared/events.py, SUBSCRIBERS.

locals {
  stage_topics = {
    attestation = ["attestation-requested", "image-built", "nonce-registered", "nonce-requested", "reference-revoked", "sweep-requested"]
    outer       = ["attestation-appraised", "cancel-requested", "dead-letter-dropped", "outer-install-completed", "run-failed", "run-requested", "sweep-requested", "verdict-changed"]
    scanner     = ["holdings-listed", "manifest-published", "sweep-requested", "waiver-granted", "waiver-revoked"]
    sync        = ["advisories-refreshed", "sweep-requested", "sync-shard-planned", "verdict-changed", "verdicts-written"]
  }

  pushed = { for stage, topics in local.stage_topics : stage => {
    for topic in topics : google_pubsub_topic.event[topic].name => { project = var.project, credentials = topic == "attestation-requested" }
  } }

  policies   = { "/policies" = google_storage_bucket.dmz["policies"].name }
  advisories = var.advisories_in_bucket ? { "/advisories" = google_storage_bucket.dmz["advisories"].name } : {}

  # Noted where the console reads (shared/letters.py): who pulls a letter takes it from others.
  letters = { (google_pubsub_topic.dead_letters.name) = { project = var.project, dead_letters = true } }

  dead_letter_topic = "projects/${var.project}/topics/${google_pubsub_topic.dead_letters.name}"
}

module "outer" {
  source = "../modules/function"

  attempts            = var.dead_letter_attempts
  buckets             = local.policies
  dead_letter_topic   = local.dead_letter_topic
  deletion_protection = var.deletion_protection
  environment         = local.environment
  image               = var.image
  labels              = local.labels
  limits              = { concurrency = 1, memory = "1Gi" } # a hostile VM's report may unpack to a good part of it
  location            = var.location
  name                = "outer"
  project             = var.project
  pubsub_agent        = local.pubsub_agent
  secrets             = local.secrets
  topics              = merge(local.pushed["outer"], local.letters)

  depends_on = [google_project_service.api, google_project_service_identity.agent]
}

module "scanner" {
  source = "../modules/function"

  attempts            = var.dead_letter_attempts
  buckets             = merge(local.policies, local.advisories)
  dead_letter_topic   = local.dead_letter_topic
  deletion_protection = var.deletion_protection
  environment         = local.environment
  image               = var.image
  labels              = local.labels
  limits              = { cpu = "2", memory = "2Gi" }
  location            = var.location
  name                = "scanner"
  project             = var.project
  pubsub_agent        = local.pubsub_agent
  topics              = local.pushed["scanner"]

  depends_on = [google_project_service.api, google_project_service_identity.agent]
}

# Shards are many and carry bytes: more instances, and few events in each. The file system is memory: a shard keeps at
# most shard_bytes (64 MiB) there at once, and two shards and the process fit into 512 MiB. The rest is for what no
# shard can be cut into: two single files of file_bytes (1.5 GiB), and the plan of a large workload.
module "sync" {
  source = "../modules/function"

  attempts            = var.dead_letter_attempts
  buckets             = merge(local.policies, local.advisories)
  dead_letter_topic   = local.dead_letter_topic
  deletion_protection = var.deletion_protection
  environment         = local.environment
  image               = var.image
  labels              = local.labels
  limits              = { concurrency = 2, cpu = "2", instances = 40, memory = "4Gi" }
  location            = var.location
  name                = "sync"
  project             = var.project
  pubsub_agent        = local.pubsub_agent
  topics              = local.pushed["sync"]

  depends_on = [google_project_service.api, google_project_service_identity.agent]
}

module "attestation" {
  source = "../modules/function"

  attempts            = var.dead_letter_attempts
  buckets             = local.policies
  dead_letter_topic   = local.dead_letter_topic
  deletion_protection = var.deletion_protection
  environment         = local.environment
  image               = var.image
  labels              = local.labels
  location            = var.location
  name                = "attestation"
  project             = var.project
  pubsub_agent        = local.pubsub_agent
  topics              = local.pushed["attestation"]

  depends_on = [google_project_service.api, google_project_service_identity.agent]
}
