# https://cloud.google.com/confidential-computing/confidential-space/docs/deploy-workloads

locals {
  host      = "data-${replace(var.service, "_", "-")}"
  reference = "${var.location}-docker.pkg.dev/${var.project}/${var.image_repository}/${var.service}@${var.image_digest}"

  environment = merge(var.environment, {
    DMZ_SERVICE      = var.service
    DMZ_PROJECT      = var.events_project
    DMZ_SUBSCRIPTION = "${var.service}--nonce-issued"
  })

  metadata = merge(
    { for name, value in local.environment : "tee-env-${name}" => value },
    {
      tee-image-reference        = local.reference
      tee-container-log-redirect = var.log_redirect
      tee-restart-policy         = "OnFailure"
      block-project-ssh-keys     = "true"
      serial-port-enable         = "false"
    },
  )
}

# The launcher reads its metadata once, at boot: another image or another variable is another machine.
resource "terraform_data" "launch" {
  input = local.metadata
}

resource "google_compute_instance" "service" {
  project             = var.project
  name                = local.host
  zone                = var.zone
  machine_type        = var.machine_type
  can_ip_forward      = false
  deletion_protection = false # it keeps nothing, and is replaced with its image
  metadata            = local.metadata
  labels              = merge(var.labels, { dmz-kind = "data-service" })

  boot_disk {
    auto_delete = true

    initialize_params {
      image = var.boot_image
    }
  }

  confidential_instance_config {
    enable_confidential_compute = true
    confidential_instance_type  = var.confidential_type
  }

  shielded_instance_config {
    enable_secure_boot          = true
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }

  # No access_config: no external address.
  network_interface {
    subnetwork = var.subnetwork
    nic_type   = "GVNIC"
    stack_type = "IPV4_ONLY"
  }

  scheduling {
    automatic_restart   = true
    on_host_maintenance = "TERMINATE" # a machine with encrypted memory does not move
  }

  service_account {
    email  = var.account
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
  }

  lifecycle {
    replace_triggered_by = [terraform_data.launch]
  }
}
