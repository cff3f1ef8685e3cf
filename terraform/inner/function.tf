# The inner stage lives here, so that no identity of the outer project may make machines in the sealed network.

module "inner" {
  source = "../modules/function"

  name                = "inner"
  project             = var.project
  location            = var.outer.location
  image               = var.outer.image
  deletion_protection = var.deletion_protection
  labels              = local.labels
  limits              = { concurrency = 1, instances = 40 } # every host of a slice reports, each up to 16 MiB unpacked
  pubsub_agent        = local.pubsub_agent
  dead_letter_topic   = var.outer.dead_letter_topic

  # shared/events.py, SUBSCRIBERS["inner"]. The topics are the outer project's; the subscriptions are here, because
  # Cloud Run's internal ingress takes pushes from its own project alone.
  topics = { for topic in keys(var.outer.topics) : topic => { project = var.outer.project } }

  # What the operator tuned for all stages, then what stands here: that wins.
  environment = merge({ for field, value in var.outer.settings : "DMZ_${upper(field)}" => value }, {
    GOOGLE_CLOUD_PROJECT      = var.outer.project
    DMZ_GENERIC_REPOSITORY    = var.generic_repository
    DMZ_INNER_NETWORK         = var.network
    DMZ_INNER_PROJECT         = var.project
    DMZ_INNER_SERVICE_ACCOUNT = local.vm
    DMZ_INNER_SUBNETWORK      = google_compute_subnetwork.inner.name
    DMZ_LOCATION              = var.outer.location
    DMZ_PYTHON_REPOSITORY     = var.python_repository
    DMZ_SEALED_BY             = local.sealed_by
    DMZ_ZONE                  = var.zone
  })

  depends_on = [google_project_service.api, google_project_service_identity.agent]
}

locals {
  labels = { application = "package-dmz" }

  sealed_by = var.access_policy == null ? "sealed by route only" : "sealed by route and perimeter"
}
