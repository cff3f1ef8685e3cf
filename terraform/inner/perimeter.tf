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

  # Where people come from. "*" is any network: a rule then goes by who they are alone.
  from = length(var.access_levels) > 0 ? sort(var.access_levels) : ["*"]

  outer_project = [for one in data.google_project.outer : "projects/${one.number}"]

  # Who may enter, to what: everybody to what the rights in terraform/contract.md are on, and to nothing else. A rule
  # without identities would be nobody's, and Google refuses it.
  inward = { for title, rule in {
    "packages" = {
      identities = [var.outer.sync]
      people     = false
      projects   = local.outer_project
      services   = ["artifactregistry.googleapis.com"]
    }
    # From the outer project's builds as well as from a person's machine.
    "images" = {
      identities = sort(var.image_pushers)
      people     = true
      projects   = local.outer_project
      services   = ["artifactregistry.googleapis.com"]
    }
    "data" = {
      identities = length(var.data_services) > 0 ? sort(var.data_owners) : []
      people     = true
      projects   = []
      services   = ["cloudkms.googleapis.com"]
    }
    "kept VMs" = {
      identities = sort(var.operators)
      people     = true
      projects   = []
      services   = ["tpu.googleapis.com"]
    }
    # Who runs Terraform would otherwise shut himself out.
    "deployment" = {
      identities = [var.deployer]
      people     = true
      projects   = []
      services   = local.restricted_services
    }
  } : title => rule if length(rule.identities) > 0 }

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

    dynamic "ingress_policies" {
      for_each = local.inward
      content {
        title = ingress_policies.key

        ingress_from {
          identities = ingress_policies.value.identities

          dynamic "sources" {
            for_each = ingress_policies.value.projects
            content {
              resource = sources.value
            }
          }
          dynamic "sources" {
            for_each = ingress_policies.value.people ? local.from : []
            content {
              access_level = sources.value
            }
          }
        }
        ingress_to {
          resources = ["projects/${local.number}"]
          dynamic "operations" {
            for_each = ingress_policies.value.services
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
