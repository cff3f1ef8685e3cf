# Two layers. Private zones lead Google's APIs to the restricted addresses. The response policy stands before them and
# knows only the names that something here needs: the metadata server's resolver would answer public names even without
# a route, and a question is a message. https://cloud.google.com/dns/docs/zones/manage-response-policies

locals {
  private_zones = { googleapis = "googleapis.com.", pkg-dev = "pkg.dev." }

  # Who asks: guest = the scripts in a TPU VM, launcher and service = a VM in Confidential Space.
  needed_names = merge({
    artifactregistry      = "artifactregistry.googleapis.com."      # guest
    cloudkms              = "cloudkms.googleapis.com."              # service
    confidentialcomputing = "confidentialcomputing.googleapis.com." # launcher
    logging               = "logging.googleapis.com."               # launcher
    pkg-dev-apt           = "${var.outer.location}-apt.pkg.dev."    # guest
    pkg-dev-docker        = "${var.outer.location}-docker.pkg.dev." # launcher
    pkg-dev-python        = "${var.outer.location}-python.pkg.dev." # guest
    pubsub                = "pubsub.googleapis.com."                # guest, service
    sts                   = "sts.googleapis.com."                   # service
    tpu                   = "tpu.googleapis.com."                   # the TPU VM's own agent
  }, { for name in var.more_names : replace(trimsuffix(name, "."), ".", "-") => name })
}

resource "google_dns_managed_zone" "private" {
  for_each = local.private_zones

  name        = "${var.network}-${each.key}"
  project     = var.project
  dns_name    = each.value
  description = "Google's APIs at their restricted addresses."
  visibility  = "private"

  private_visibility_config {
    networks {
      network_url = google_compute_network.inner.id
    }
  }
}

resource "google_dns_record_set" "address" {
  for_each = local.private_zones

  project      = var.project
  managed_zone = google_dns_managed_zone.private[each.key].name
  # googleapis.com itself is no API: its wildcard points at `restricted`.
  name    = each.key == "googleapis" ? "restricted.${each.value}" : each.value
  type    = "A"
  ttl     = 300
  rrdatas = local.restricted_addresses
}

resource "google_dns_record_set" "wildcard" {
  for_each = local.private_zones

  project      = var.project
  managed_zone = google_dns_managed_zone.private[each.key].name
  name         = "*.${each.value}"
  type         = "CNAME"
  ttl          = 300
  rrdatas      = [google_dns_record_set.address[each.key].name]
}

resource "google_dns_policy" "log" {
  name           = "${var.network}-log"
  project        = var.project
  description    = "Every question is logged: a name is a message."
  enable_logging = true

  networks {
    network_url = google_compute_network.inner.id
  }
}

resource "google_dns_response_policy" "inner" {
  project              = var.project
  response_policy_name = var.network
  description          = "Answers the Google names that are needed, and no other."

  networks {
    network_url = google_compute_network.inner.id
  }
}

resource "google_dns_response_policy_rule" "needed" {
  for_each = local.needed_names

  project         = var.project
  response_policy = google_dns_response_policy.inner.response_policy_name
  rule_name       = each.key
  dns_name        = each.value

  local_data {
    local_datas {
      name    = each.value
      type    = "A"
      ttl     = 300
      rrdatas = local.restricted_addresses
    }
  }
}

resource "google_dns_response_policy_rule" "metadata" {
  project         = var.project
  response_policy = google_dns_response_policy.inner.response_policy_name
  rule_name       = "metadata"
  dns_name        = "metadata.google.internal."

  local_data {
    local_datas {
      name    = "metadata.google.internal."
      type    = "A"
      ttl     = 300
      rrdatas = ["169.254.169.254"]
    }
  }
}

# The rule with the longest matching suffix answers, so this one does for every other name.
resource "google_dns_response_policy_rule" "nothing_else" {
  project         = var.project
  response_policy = google_dns_response_policy.inner.response_policy_name
  rule_name       = "nothing-else"
  dns_name        = "*."

  local_data {
    local_datas {
      name    = "*."
      type    = "A"
      ttl     = 300
      rrdatas = ["0.0.0.0"]
    }
    local_datas {
      name    = "*."
      type    = "AAAA"
      ttl     = 300
      rrdatas = ["::"]
    }
  }
}
