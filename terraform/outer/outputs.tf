output "builder" {
  description = "E-mail of the account that Cloud Build runs as."
  value       = local.builder
}

output "builder_key" {
  description = "Key version that Cloud Build signs its statements with, as shared/gcp/kms.py names it."
  value       = local.signing_key["builder"]
}

output "builds_bucket" {
  description = "Bucket for the sources that Cloud Build is sent (gcloud builds submit --gcs-source-staging-dir=gs://BUCKET/source)."
  value       = google_storage_bucket.dmz["builds"].name
}

output "console_url" {
  description = "Address of the console, for who is among console_readers; null before there is an image."
  value       = local.console_url
}

output "contract" {
  description = "All that terraform/inner learns of this project: its variable `outer`, as it is."
  value = {
    dead_letter_topic = local.dead_letter_topic
    image             = var.image
    location          = var.location
    project           = var.project
    settings          = { for field, value in var.settings : field => value if contains(local.shared, field) && value != "" }
    sync              = module.sync.member
    topics            = { for topic in local.inner_topics : topic => "projects/${var.project}/topics/${google_pubsub_topic.event[topic].name}" }
  }
}

output "nonce_subscriptions" {
  description = "Data service to the subscription by which it learns its nonces (DMZ_SUBSCRIPTION)."
  value       = { for service, one in google_pubsub_subscription.nonces : service => one.name }
}

output "policies_bucket" {
  description = "Bucket with builders.yaml, appraisal/NAME.yaml and admission policies."
  value       = google_storage_bucket.dmz["policies"].name
}

output "provenance_bucket" {
  description = "Bucket with what builders signed about images (cloudbuild.yaml, _PROVENANCE)."
  value       = google_storage_bucket.dmz["provenance"].name
}

output "rebuilder" {
  description = "E-mail of the account that the second build of each image runs as."
  value       = local.rebuilder
}

output "rebuilder_key" {
  description = "Key version that the second builder signs its statements with."
  value       = local.signing_key["rebuilder"]
}

output "repository" {
  description = "Where Cloud Build pushes the image of the services."
  value       = "${var.location}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.services.repository_id}"
}

output "services" {
  description = "Stage to its Cloud Run service; null before there is an image."
  value = {
    attestation = module.attestation.service
    outer       = module.outer.service
    scanner     = module.scanner.service
    sync        = module.sync.service
  }
}

output "staging_repository" {
  description = "Where operators put their own wheels."
  value       = google_artifact_registry_repository.staging.repository_id
}
