# What the stage runs as, and what Pub/Sub says it is when it pushes. Neither has a key. An account's id has at least six
# characters, which not every stage's name has.

resource "google_service_account" "stage" {
  project      = var.project
  account_id   = "${var.name}-stage"
  display_name = "Package DMZ: ${var.name} stage"
}

resource "google_service_account" "push" {
  project      = var.project
  account_id   = "${var.name}-push"
  display_name = "Package DMZ: Pub/Sub's pushes to the ${var.name} stage"
}

# Pub/Sub mints the OIDC tokens of its pushes as this account; it gets no other token for it.
resource "google_service_account_iam_member" "push" {
  service_account_id = "projects/${var.project}/serviceAccounts/${local.push}"
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = var.pubsub_agent
}

locals {
  # From account_id, so that plans show who gets what; e-mails are known after the apply only.
  account = "${google_service_account.stage.account_id}@${var.project}.iam.gserviceaccount.com"
  push    = "${google_service_account.push.account_id}@${var.project}.iam.gserviceaccount.com"
}
