# All that an identity of the outer project may do in here. terraform/contract.md tables it, with what crosses the other
# way: that is granted by the outer project, to the members in the output `identities`.

# sync writes what was judged, and deletes only where eviction is on.
resource "google_artifact_registry_repository_iam_member" "sync" {
  for_each = local.package_repositories

  project    = var.project
  location   = var.outer.location
  repository = google_artifact_registry_repository.packages[each.key].repository_id
  role       = "roles/artifactregistry.writer"
  member     = var.outer.sync
}

resource "google_project_iam_custom_role" "evictor" {
  count = var.eviction ? 1 : 0

  project     = var.project
  role_id     = "packageDmzEvictor"
  title       = "Package DMZ: evicts"
  description = "Deletes versions. roles/artifactregistry.repoAdmin would delete packages, files, tags and rules too."
  permissions = ["artifactregistry.versions.delete"]
}

resource "google_artifact_registry_repository_iam_member" "evict" {
  for_each = var.eviction ? local.package_repositories : {}

  project    = var.project
  location   = var.outer.location
  repository = google_artifact_registry_repository.packages[each.key].repository_id
  role       = "projects/${var.project}/roles/${google_project_iam_custom_role.evictor[0].role_id}"
  member     = var.outer.sync
}

# Who promotes agreed images of data services.
resource "google_artifact_registry_repository_iam_member" "image_pusher" {
  for_each = var.image_pushers

  project    = var.project
  location   = var.outer.location
  repository = google_artifact_registry_repository.images.repository_id
  role       = "roles/artifactregistry.writer"
  member     = each.key
}
