# Who acts in this project. Nobody has a key. E-mails are put together from account ids, so that a plan shows who gets
# what: Google answers them after the apply only.

locals {
  pubsub_agent = "serviceAccount:service-${local.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
  run_agent    = "serviceAccount:service-${local.number}@serverless-robot-prod.iam.gserviceaccount.com"
  vm           = "${google_service_account.vm.account_id}@${var.project}.iam.gserviceaccount.com"

  # By service.
  data_services = { for name, one in google_service_account.data_service : name => "${one.account_id}@${var.project}.iam.gserviceaccount.com" }
}

resource "google_service_account" "vm" {
  project      = var.project
  account_id   = "inner-vm"
  display_name = "Package DMZ: inner TPU VMs"
  depends_on   = [google_project_service.api]
}

# Each has its own: what one may read (its nonces), no other may.
resource "google_service_account" "data_service" {
  for_each = var.data_services

  project      = var.project
  account_id   = "data-${replace(each.key, "_", "-")}" # as functions/local/project.py has it
  display_name = "Package DMZ: the data service ${each.key} in Confidential Space"
  depends_on   = [google_project_service.api]
}

# The VM installs from the private repositories. Its one topic is the outer project's, granted there.
resource "google_artifact_registry_repository_iam_member" "vm" {
  for_each = local.package_repositories

  project    = var.project
  location   = var.outer.location
  repository = google_artifact_registry_repository.packages[each.key].repository_id
  role       = "roles/artifactregistry.reader"
  member     = "serviceAccount:${local.vm}"
}

resource "google_artifact_registry_repository_iam_member" "data_service" {
  for_each = local.data_services

  project    = var.project
  location   = var.outer.location
  repository = google_artifact_registry_repository.images.repository_id
  role       = "roles/artifactregistry.reader"
  member     = "serviceAccount:${each.value}"
}

# Of the project, as neither tokens nor logs have a resource to grant on.
resource "google_project_iam_member" "data_service" {
  for_each = { for pair in setproduct(keys(local.data_services), local.launcher_roles) : join(" ", pair) => pair }

  project = var.project
  role    = each.value[1]
  member  = "serviceAccount:${local.data_services[each.value[0]]}"
}

locals {
  launcher_roles = [
    "roles/confidentialcomputing.workloadUser", # the launcher asks for tokens
    "roles/logging.logWriter",                  # the launcher redirects the container's output
  ]
}

# The inner function makes VMs. TPU nodes have no policies of their own, so this is on the project.
resource "google_project_iam_custom_role" "vm_keeper" {
  project     = var.project
  role_id     = "packageDmzVmKeeper"
  title       = "Package DMZ: creates and deletes VMs"
  description = "What shared/gcp/tpu.py calls."
  permissions = ["tpu.nodes.create", "tpu.nodes.delete", "tpu.nodes.get", "tpu.nodes.list", "tpu.operations.get"]
}

resource "google_project_iam_member" "vm_keeper" {
  project = var.project
  role    = "projects/${var.project}/roles/${google_project_iam_custom_role.vm_keeper.role_id}"
  member  = module.inner.member
}

# A VM may be given this account and no other.
resource "google_service_account_iam_member" "inner_gives_its_vms" {
  service_account_id = "projects/${var.project}/serviceAccounts/${local.vm}"
  role               = "roles/iam.serviceAccountUser"
  member             = module.inner.member
}

# `gcloud compute tpus tpu-vm ssh` (shared/entry.py) reads the node and writes the SSH key into its metadata; `./dmz status`
# lists nodes; who keeps a VM deletes it (docs/operations.md). It makes none, and gives none another account.
resource "google_project_iam_custom_role" "operator" {
  count = length(var.operators) > 0 ? 1 : 0

  project     = var.project
  role_id     = "packageDmzOperator"
  title       = "Package DMZ: enters and deletes kept VMs"
  description = "What gcloud compute tpus tpu-vm ssh, list and delete call."
  permissions = ["tpu.nodes.delete", "tpu.nodes.get", "tpu.nodes.list", "tpu.nodes.update", "tpu.operations.get"]
}

resource "google_project_iam_member" "operator" {
  for_each = var.operators

  project = var.project
  role    = "projects/${var.project}/roles/${google_project_iam_custom_role.operator[0].role_id}"
  member  = each.key
}

# Port 22 of this project's machines, through Identity-Aware Proxy, for who looks after a VM that was kept.
resource "google_project_iam_member" "operators" {
  for_each = var.operators

  project = var.project
  role    = "roles/iap.tunnelResourceAccessor"
  member  = each.key

  condition {
    title      = "SSH only"
    expression = "destination.port == 22"
  }
}
