# The restricted addresses alone still reach anybody's repository or topic. The perimeter is what holds Google's
# interfaces to this project: https://cloud.google.com/vpc-service-controls/docs/overview

locals {
  restricted_services = [
    "artifactregistry.googleapis.com",
    "cloudkms.googleapis.com",
    "compute.googleapis.com",
    "confidentialcomputing.googleapis.com",
    "dns.googleapis.com",
    "firestore.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "storage.googleapis.com",
    "sts.googleapis.com",
    "tpu.googleapis.com",
  ]

  # What of it crosses, as terraform/contract.md has it.
  outward = {
    "runs and events" = {
      identities = [module.inner.member]
      services   = ["firestore.googleapis.com", "pubsub.googleapis.com"]
    }
    "reports and tokens" = {
      identities = [for account in concat(values(local.data_services), [local.vm]) : "serviceAccount:${account}"]
      services   = ["pubsub.googleapis.com"]
    }
    "image" = {
      identities = [local.run_agent, var.deployer]
      services   = ["artifactregistry.googleapis.com"]
    }
    "subscriptions and dead letters" = {
      identities = [local.pubsub_agent, var.deployer]
      services   = ["pubsub.googleapis.com"]
    }
  }
}

resource "google_access_context_manager_service_perimeter" "inner" {
  count = var.access_policy == null ? 0 : 1

  parent         = "accessPolicies/${var.access_policy}"
  name           = "accessPolicies/${var.access_policy}/servicePerimeters/package_dmz_inner"
  title          = "package_dmz_inner"
  perimeter_type = "PERIMETER_TYPE_REGULAR"

  status {
    resources           = ["projects/${local.number}"]
    restricted_services = local.restricted_services

    vpc_accessible_services {
      enable_restriction = true
      allowed_services   = ["RESTRICTED-SERVICES"]
    }

    ingress_policies {
      title = "packages and images"

      ingress_from {
        identities = concat([var.outer.sync], sort(var.image_pushers))
        sources {
          resource = "projects/${data.google_project.outer[0].number}"
        }
      }
      ingress_to {
        resources = ["projects/${local.number}"]
        operations {
          service_name = "artifactregistry.googleapis.com"
          method_selectors {
            method = "*"
          }
        }
      }
    }

    # Who runs Terraform would otherwise shut itself out.
    ingress_policies {
      title = "deployment"

      ingress_from {
        identities = [var.deployer]
        sources {
          access_level = "*"
        }
      }
      ingress_to {
        resources = ["projects/${local.number}"]
        dynamic "operations" {
          for_each = local.restricted_services
          content {
            service_name = operations.value
            method_selectors {
              method = "*"
            }
          }
        }
      }
    }

    dynamic "egress_policies" {
      for_each = local.outward
      content {
        title = egress_policies.key

        egress_from {
          identities = egress_policies.value.identities
        }
        egress_to {
          resources = ["projects/${data.google_project.outer[0].number}"]
          dynamic "operations" {
            for_each = egress_policies.value.services
            content {
              service_name = operations.value
              method_selectors {
                method = "*"
              }
            }
          }
        }
      }
    }
  }
}
