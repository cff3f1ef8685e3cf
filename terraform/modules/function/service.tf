resource "google_cloud_run_v2_service" "stage" {
  count = var.image == null ? 0 : 1

  project              = var.project
  name                 = var.name
  location             = var.location
  description          = "Package DMZ: functions/${var.name}"
  labels               = var.labels
  ingress              = "INGRESS_TRAFFIC_INTERNAL_ONLY"
  invoker_iam_disabled = false
  deletion_protection  = var.deletion_protection

  template {
    service_account                  = local.account
    timeout                          = "600s" # Pub/Sub's longest ack deadline: an answer after it is not heard
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    max_instance_request_concurrency = var.limits.concurrency
    labels                           = var.labels

    scaling {
      min_instance_count = 0
      max_instance_count = var.limits.instances
    }

    containers {
      image = var.image

      resources {
        limits            = { cpu = var.limits.cpu, memory = var.limits.memory }
        cpu_idle          = true
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = local.environment
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = var.secrets
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = env.value.name
              version = env.value.version
            }
          }
        }
      }

      dynamic "volume_mounts" {
        for_each = var.buckets
        content {
          name       = trimprefix(volume_mounts.key, "/")
          mount_path = volume_mounts.key
        }
      }
    }

    dynamic "volumes" {
      for_each = var.buckets
      content {
        name = trimprefix(volumes.key, "/")
        gcs {
          bucket    = volumes.value
          read_only = true
        }
      }
    }
  }
}

resource "google_cloud_run_v2_service_iam_member" "push" {
  count = var.image == null ? 0 : 1

  project  = var.project
  location = var.location
  name     = google_cloud_run_v2_service.stage[0].name
  role     = "roles/run.servicesInvoker"
  member   = "serviceAccount:${local.push}"
}

locals {
  environment = merge(var.environment, {
    FUNCTION_SOURCE = "functions/${var.name}/main.py"
    FUNCTION_TARGET = "handle"
  })
}
