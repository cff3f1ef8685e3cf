# What the stages are configured with: fields of shared/settings.py. tests/terraform/test_settings.py holds the three
# groups against the code: what Terraform sets, what an operator may set, what is another place's.

locals {
  made = {
    advisories              = var.advisories_in_bucket ? "/advisories" : "https://api.osv.dev"
    advisories_name         = var.advisories_in_bucket ? "OSV.dev's bucket, copied every hour" : ""
    appraisal_policies      = "/policies/appraisal"
    attestation_signing_key = local.signing_key["verification-summaries"]
    builders                = "/policies/builders.yaml"
    inner_project           = var.inner == null ? "" : var.inner.project
    location                = var.location
    outer_network           = google_compute_network.outer.name
    outer_service_account   = local.outer_vm
    outer_subnetwork        = google_compute_subnetwork.outer.name
    staging_repository      = google_artifact_registry_repository.staging.repository_id
    traces                  = "https://telemetry.googleapis.com/v1/traces"
    zone                    = var.zone
  }

  tunable = toset([
    "attestation_keys", "attestation_root", "console", "debian_mirror", "debian_security_mirror", "debian_snapshot", "epss", "file_bytes", "kev", "keyrings",
    "lease_seconds", "nonce_seconds", "outer_debian_key", "outer_debian_mirror", "outer_debian_security_mirror", "outer_python_index",
    "policy", "prices", "python_index", "report_grace_seconds", "shard_bytes", "ubuntu_snapshot",
  ])

  # What lets somebody in: secrets.tf.
  secret = toset(["notify"])

  # OSV's bucket does not hold these two; without it the stages find the addresses themselves.
  published = var.advisories_in_bucket ? {
    epss = "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz"
    kev  = "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"
  } : {}

  # Where links of notifications lead, unless an operator says otherwise: a name of her own for the console, say.
  console_link = local.console_url == null ? {} : { console = local.console_url }

  # Of these, what the inner stage reads too: the contract brings them there, so that both stages count alike.
  shared = toset(["lease_seconds", "nonce_seconds", "report_grace_seconds"])

  # terraform/inner makes them; their names are the defaults of shared/settings.py.
  of_inner = toset([
    "generic_repository", "image_repository", "inner_network", "inner_service_account", "inner_subnetwork",
    "python_repository", "sealed_by",
  ])

  # For stand-ins on one machine; on Google Cloud these stay empty.
  of_one_machine = toset(["registry_endpoint", "tpu_endpoint"])

  # An empty value is what an absent one means.
  environment = merge(
    { for field, value in merge(local.made, local.published, local.console_link, var.settings) : "DMZ_${upper(field)}" => value if value != "" },
    { GOOGLE_CLOUD_PROJECT = var.project },
  )
}
