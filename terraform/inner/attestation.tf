# A token of Confidential Space becomes an identity of this project only under the condition that the service's
# appraisal policy exports: docs/provenance.md.

locals {
  exports = { for name, one in var.data_services : name => jsondecode(file(one.export)) }

  # Which of the admitted images runs: the one that is named, else the only one.
  chosen = { for name, one in var.data_services : name => one.image_digest != null ? one.image_digest : try(one(local.exports[name].images[*].image_digest), null) }

  # A policy may admit several images, each until its reference value expires.
  admitted = flatten([for name, export in local.exports : [
    for image in export.images : {
      service    = name
      member     = "${local.principals}/${image.image_digest}"
      named      = try(image.principal_set, "${local.principals}/${image.image_digest}")
      title      = try(image.condition.title, "")
      expression = try(image.condition.expression, "")
    }
  ]])

  principals = "principalSet://iam.googleapis.com/projects/${local.number}/locations/global/workloadIdentityPools/${var.decrypt_pool}/attribute.image_digest"
}

resource "google_iam_workload_identity_pool" "attested" {
  count = length(var.data_services) > 0 ? 1 : 0

  project                   = var.project
  workload_identity_pool_id = var.decrypt_pool
  display_name              = "Package DMZ: attested"
  description               = "Services in Confidential Space whose image has a reference value."

  depends_on = [google_project_service.api]
}

resource "google_iam_workload_identity_pool_provider" "attested" {
  for_each = local.exports

  project                            = var.project
  workload_identity_pool_id          = google_iam_workload_identity_pool.attested[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "attest-${replace(each.key, "_", "-")}"
  description                        = "The appraisal policy of ${each.key}, ${each.value.policy}"
  attribute_mapping                  = each.value.provider.attribute_mapping
  attribute_condition                = each.value.provider.attribute_condition

  oidc {
    issuer_uri        = each.value.provider.oidc.issuer_uri
    allowed_audiences = each.value.provider.oidc.allowed_audiences
  }

  lifecycle {
    precondition {
      condition     = each.value.format == "package-dmz/attestation-export/v1" && each.value.service == each.key
      error_message = "data_services.${each.key}.export is not what `./dmz attestation export` prints for the policy of ${each.key}."
    }
    precondition {
      condition     = each.value.provider.oidc.issuer_uri == "https://confidentialcomputing.googleapis.com/" && each.value.provider.oidc.allowed_audiences == ["https://sts.googleapis.com"]
      error_message = "data_services.${each.key}.export trusts another issuer or audience than Confidential Space's."
    }
    precondition {
      condition     = local.chosen[each.key] == null ? false : contains(each.value.images[*].image_digest, local.chosen[each.key])
      error_message = "data_services.${each.key}.image_digest is not among the images that its export admits, or is left out where that admits several: the VM would run, and decrypt nothing."
    }
  }
}
