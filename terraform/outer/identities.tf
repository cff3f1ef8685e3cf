# Machines that are no stage. None of them has a key.

# Runs strangers' install code: it may publish its one report and read the user's own wheels, nothing else.
resource "google_service_account" "outer_vm" {
  project      = var.project
  account_id   = "outer-vm"
  display_name = "Package DMZ: outer VMs, which run strangers' code"
  depends_on   = [google_project_service.api]
}

resource "google_service_account" "builder" {
  project      = var.project
  account_id   = "builder"
  display_name = "Package DMZ: Cloud Build"
  depends_on   = [google_project_service.api]
}

# The other of the two builders: it signs what it has built from the same source, and pushes nothing.
resource "google_service_account" "rebuilder" {
  project      = var.project
  account_id   = "rebuilder"
  display_name = "Package DMZ: Cloud Build, the second build of each image"
  depends_on   = [google_project_service.api]
}

locals {
  builder  = "${google_service_account.builder.account_id}@${var.project}.iam.gserviceaccount.com"
  outer_vm = "${google_service_account.outer_vm.account_id}@${var.project}.iam.gserviceaccount.com"

  rebuilder = "${google_service_account.rebuilder.account_id}@${var.project}.iam.gserviceaccount.com"
}

# Creating a VM that runs as this account asks for it; no other account may be given to a VM.
resource "google_service_account_iam_member" "outer_gives_its_vms" {
  service_account_id = "projects/${var.project}/serviceAccounts/${local.outer_vm}"
  role               = "roles/iam.serviceAccountUser"
  member             = module.outer.member
}

# TPU nodes have no policies of their own, so this is on the project; the role holds what shared/gcp/tpu.py calls.
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
  member  = module.outer.member
}

# `./dmz status` lists the VMs of both projects (functions/ctl/fleet.py). Outer ones are nobody's to enter.
resource "google_project_iam_custom_role" "vm_viewer" {
  project     = var.project
  role_id     = "packageDmzVmViewer"
  title       = "Package DMZ: sees VMs"
  description = "What ./dmz status asks the TPU API for."
  permissions = ["tpu.nodes.get", "tpu.nodes.list"]
}

resource "google_project_iam_member" "vm_viewer" {
  for_each = var.operators

  project = var.project
  role    = "projects/${var.project}/roles/${google_project_iam_custom_role.vm_viewer.role_id}"
  member  = each.key
}

# Cloud Build writes its log as the account that it runs as; logs have no resource to grant on.
resource "google_project_iam_member" "builder_logs" {
  for_each = { builder = local.builder, rebuilder = local.rebuilder }

  project = var.project
  role    = "roles/logging.logWriter"
  member  = "serviceAccount:${each.value}"
}
