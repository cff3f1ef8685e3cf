# The console, the one service that takes requests from outside: IAP stands before every one of its addresses and lets
# in `console_readers` alone. It reads the one database and has no other right.
# https://docs.cloud.google.com/run/docs/securing/identity-aware-proxy-cloud-run

locals {
  console = "${google_service_account.console.account_id}@${var.project}.iam.gserviceaccount.com"

  # Cloud Run's address of a service is known before it is made (https://docs.cloud.google.com/run/docs/triggering/https-request):
  # the stages learn it without waiting for the console. Null before there is an image.
  console_url = var.image == null ? null : "https://console-${local.number}.${var.location}.run.app"
}

resource "google_service_account" "console" {
  project      = var.project
  account_id   = "console"
  display_name = "Package DMZ: console, which only reads"
  depends_on   = [google_project_service.api]
}

resource "google_project_iam_member" "console_reads" {
  project = var.project
  role    = "roles/datastore.viewer"
  member  = "serviceAccount:${local.console}"

  condition {
    title      = "the one database"
    expression = local.the_database
  }
}

resource "google_cloud_run_v2_service" "console" {
  count = var.image == null ? 0 : 1

  project              = var.project
  name                 = "console"
  location             = var.location
  description          = "Package DMZ: functions/console"
  labels               = local.labels
  ingress              = "INGRESS_TRAFFIC_ALL"
  iap_enabled          = true
  invoker_iam_disabled = false
  deletion_protection  = var.deletion_protection

  template {
    service_account       = local.console
    timeout               = "60s"
    execution_environment = "EXECUTION_ENVIRONMENT_GEN2"
    labels                = local.labels

    scaling {
      min_instance_count = 0
      max_instance_count = 2 # for people; who asks for more waits
    }

    containers {
      image = var.image

      resources {
        limits            = { cpu = "1", memory = "1Gi" }
        cpu_idle          = true
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = {
          FUNCTION_SOURCE      = "functions/console/main.py"
          FUNCTION_TARGET      = "handle"
          GOOGLE_CLOUD_PROJECT = var.project
        }
        content {
          name  = env.key
          value = env.value
        }
      }
    }
  }

  depends_on = [google_project_iam_member.console_reads, google_project_service.api]
}

# Whom IAP has let in, it brings in as itself.
resource "google_cloud_run_v2_service_iam_member" "console_behind_iap" {
  count = var.image == null ? 0 : 1

  project  = var.project
  location = var.location
  name     = google_cloud_run_v2_service.console[0].name
  role     = "roles/run.servicesInvoker"
  member   = local.iap_agent

  depends_on = [google_project_service_identity.agent]
}

resource "google_iap_web_cloud_run_service_iam_member" "console_reader" {
  for_each = var.image == null ? toset([]) : var.console_readers

  project                = var.project
  location               = var.location
  cloud_run_service_name = google_cloud_run_v2_service.console[0].name
  role                   = "roles/iap.httpsResourceAccessor"
  member                 = each.value
}
