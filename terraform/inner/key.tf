# A key for each data service. Only an attested machine decrypts with it, and only until its reference value expires.

locals {
  # The full name, so that a plan shows which key is meant: ids are known after the apply only.
  keys = { for name, key in google_kms_crypto_key.data : name => "projects/${var.project}/locations/${var.outer.location}/keyRings/dmz-inner/cryptoKeys/${key.name}" }
}

resource "google_kms_key_ring" "inner" {
  count = length(var.data_services) > 0 ? 1 : 0

  project  = var.project
  name     = "dmz-inner"
  location = var.outer.location

  depends_on = [google_project_service.api]
}

resource "google_kms_crypto_key" "data" {
  for_each = var.data_services

  name                       = replace(each.key, "_", "-")
  key_ring                   = google_kms_key_ring.inner[0].id
  purpose                    = "ENCRYPT_DECRYPT"
  rotation_period            = "7776000s" # 90 days
  destroy_scheduled_duration = "2592000s" # 30 days to notice
  deletion_policy            = var.deletion_protection ? "PREVENT" : "DELETE"

  version_template {
    algorithm        = "GOOGLE_SYMMETRIC_ENCRYPTION"
    protection_level = "HSM"
  }
}

# A binding, not a member: whoever else was given the role loses it at the next apply. One for each condition, as two
# with the same one would take away each other's members.
resource "google_kms_crypto_key_iam_binding" "decrypt" {
  for_each = { for image in local.admitted : "${image.service} ${image.expression}" => image... }

  crypto_key_id = local.keys[each.value[0].service]
  role          = "roles/cloudkms.cryptoKeyDecrypter"
  members       = each.value[*].member

  dynamic "condition" {
    for_each = each.value[0].expression == "" ? [] : [each.value[0]]
    content {
      title      = condition.value.title
      expression = condition.value.expression
    }
  }

  lifecycle {
    precondition {
      condition     = each.value[*].named == each.value[*].member
      error_message = "data_services.${each.value[0].service}.export was made for another pool: export with --project-number ${local.number} --pool ${var.decrypt_pool}."
    }
  }

  depends_on = [google_iam_workload_identity_pool.attested]
}

resource "google_kms_crypto_key_iam_binding" "encrypt" {
  for_each = length(var.data_owners) > 0 ? var.data_services : {}

  crypto_key_id = local.keys[each.key]
  role          = "roles/cloudkms.cryptoKeyEncrypter"
  members       = var.data_owners
}
