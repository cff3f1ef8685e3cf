# Standard repositories: what lies in them was put there. A remote or virtual one would fetch for whoever asks.

locals {
  package_repositories = merge(
    { for name in var.apt_repositories : name => "APT" },
    { (var.python_repository) = "PYTHON", (var.generic_repository) = "GENERIC" },
  )
}

resource "google_artifact_registry_repository" "packages" {
  for_each = local.package_repositories

  project         = var.project
  location        = var.outer.location
  repository_id   = each.key
  format          = each.value
  mode            = "STANDARD_REPOSITORY"
  description     = "Judged packages: sync writes, inner VMs read."
  deletion_policy = var.deletion_protection ? "PREVENT" : "DELETE"

  depends_on = [google_project_service.api]
}

resource "google_artifact_registry_repository" "images" {
  project         = var.project
  location        = var.outer.location
  repository_id   = var.image_repository
  format          = "DOCKER"
  mode            = "STANDARD_REPOSITORY"
  description     = "Images of data services, by digest."
  deletion_policy = var.deletion_protection ? "PREVENT" : "DELETE"

  docker_config {
    immutable_tags = true
  }

  depends_on = [google_project_service.api]
}
