module "data_service" {
  source   = "../modules/confidential_space"
  for_each = var.data_services

  service           = each.key
  project           = var.project
  location          = var.outer.location
  zone              = var.zone
  subnetwork        = "projects/${var.project}/regions/${var.outer.location}/subnetworks/${google_compute_subnetwork.inner.name}"
  account           = local.data_services[each.key]
  image_repository  = google_artifact_registry_repository.images.repository_id
  image_digest      = coalesce(local.chosen[each.key], "none")
  confidential_type = each.value.confidential_type
  machine_type      = each.value.machine_type
  environment       = each.value.environment
  events_project    = var.outer.project
  labels            = local.labels

  depends_on = [
    google_artifact_registry_repository_iam_member.data_service,
    google_compute_firewall.deny_egress,
    google_dns_response_policy_rule.nothing_else,
    google_project_iam_member.data_service,
  ]
}
