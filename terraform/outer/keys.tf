# What the two builders on Cloud Build sign their statements with, each its own, and the attestation stage its verification summaries. The private halves
# never leave Cloud KMS; shared/gcp/kms.py asks for signatures and for the public key.

resource "google_kms_key_ring" "dmz" {
  project    = var.project
  name       = "package-dmz"
  location   = var.location
  depends_on = [google_project_service.api]
}

resource "google_kms_crypto_key" "signing" {
  for_each = toset(["builder", "rebuilder", "verification-summaries"])

  name                       = each.key
  key_ring                   = google_kms_key_ring.dmz.id
  purpose                    = "ASYMMETRIC_SIGN"
  destroy_scheduled_duration = "2592000s" # 30 days to think better of it
  labels                     = local.labels

  version_template {
    algorithm        = "EC_SIGN_P256_SHA256" # the one that shared/gcp/kms.py accepts
    protection_level = "HSM"
  }

  # Statements that are signed with it would no longer verify.
  lifecycle {
    prevent_destroy = true
  }
}

locals {
  signers = {
    "builder"                = "serviceAccount:${local.builder}"
    "rebuilder"              = "serviceAccount:${local.rebuilder}"
    "verification-summaries" = module.attestation.member
  }

  grants_on_keys = merge([for key, member in local.signers : {
    for role in ["roles/cloudkms.publicKeyViewer", "roles/cloudkms.signer"] : "${key} ${role}" => { key = key, member = member, role = role }
  }]...)

  # The builder compares before it pushes: it verifies what the rebuilder has signed.
  verifiers = { "rebuilder cloudkms.publicKeyViewer builder" = { key = "rebuilder", member = "serviceAccount:${local.builder}", role = "roles/cloudkms.publicKeyViewer" } }

  # A version is one key for good; what a key's newest version is changes.
  signing_key = { for name, key in google_kms_crypto_key.signing : name => "gcpkms://projects/${var.project}/locations/${var.location}/keyRings/${google_kms_key_ring.dmz.name}/cryptoKeys/${key.name}/cryptoKeyVersions/1" }
}

resource "google_kms_crypto_key_iam_member" "signer" {
  for_each = merge(local.grants_on_keys, local.verifiers)

  crypto_key_id = google_kms_crypto_key.signing[each.value.key].id
  role          = each.value.role
  member        = each.value.member
}

# Who signed what, and who changed a policy: neither is logged unless it is asked for.
resource "google_project_iam_audit_config" "uses" {
  for_each = {
    "cloudkms.googleapis.com" = "DATA_READ" # signing counts as reading
    "storage.googleapis.com"  = "DATA_WRITE"
  }

  project = var.project
  service = each.key

  audit_log_config {
    log_type = each.value
  }
}
