# The image of the services, and the user's own wheels until they are judged. The private repositories are inner's.

resource "google_artifact_registry_repository" "services" {
  project       = var.project
  location      = var.location
  repository_id = "dmz-services"
  description   = "Package DMZ: the image of the services"
  format        = "DOCKER"
  mode          = "STANDARD_REPOSITORY"
  labels        = local.labels
  depends_on    = [google_project_service.api]

  docker_config {
    immutable_tags = true
  }

  cleanup_policies {
    id     = "keep-the-last"
    action = "KEEP"
    most_recent_versions {
      keep_count = 20
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      older_than = "7776000s" # 90 days
    }
  }
}

resource "google_artifact_registry_repository" "staging" {
  project       = var.project
  location      = var.location
  repository_id = "dmz-staging"
  description   = "Package DMZ: the user's own wheels until they are judged"
  format        = "GENERIC"
  mode          = "STANDARD_REPOSITORY"
  labels        = local.labels
  depends_on    = [google_project_service.api]

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      older_than = "2592000s" # 30 days
    }
  }
}

resource "google_artifact_registry_repository_iam_member" "services_writer" {
  project    = var.project
  location   = var.location
  repository = google_artifact_registry_repository.services.repository_id
  role       = "roles/artifactregistry.writer"
  member     = "serviceAccount:${local.builder}"
}

# Cloud Run pulls as its service agent. Where the service is another project's, that agent needs the right itself, and
# so does who deploys: https://cloud.google.com/run/docs/deploying#other-projects
resource "google_artifact_registry_repository_iam_member" "services_reader" {
  for_each = var.inner == null ? toset([]) : toset([var.inner.run_agent, var.inner.deployer])

  project    = var.project
  location   = var.location
  repository = google_artifact_registry_repository.services.repository_id
  role       = "roles/artifactregistry.reader"
  member     = each.value
}

resource "google_artifact_registry_repository_iam_member" "staging_reader" {
  for_each = toset(concat(["serviceAccount:${local.outer_vm}"], local.publishers["sync"]))

  project    = var.project
  location   = var.location
  repository = google_artifact_registry_repository.staging.repository_id
  role       = "roles/artifactregistry.reader"
  member     = each.value
}

resource "google_artifact_registry_repository_iam_member" "staging_writer" {
  for_each = var.operators

  project    = var.project
  location   = var.location
  repository = google_artifact_registry_repository.staging.repository_id
  role       = "roles/artifactregistry.writer"
  member     = each.value
}
