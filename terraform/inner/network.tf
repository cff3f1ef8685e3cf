# Sealed: no route leads out of it but the one to Google's restricted addresses, and no packet may take another.
# https://cloud.google.com/vpc-service-controls/docs/set-up-private-connectivity

locals {
  restricted_range     = "199.36.153.4/30"
  restricted_addresses = ["199.36.153.4", "199.36.153.5", "199.36.153.6", "199.36.153.7"]
  # https://cloud.google.com/iap/docs/using-tcp-forwarding
  iap_range = "35.235.240.0/20"
}

resource "google_compute_network" "inner" {
  name                            = var.network
  project                         = var.project
  auto_create_subnetworks         = false
  delete_default_routes_on_create = true
  enable_ula_internal_ipv6        = false
  routing_mode                    = "REGIONAL"

  depends_on = [google_project_service.api]
}

resource "google_compute_subnetwork" "inner" {
  name                       = var.network
  project                    = var.project
  region                     = var.outer.location
  network                    = google_compute_network.inner.id
  ip_cidr_range              = var.subnetwork_range
  private_ip_google_access   = true
  private_ipv6_google_access = "DISABLE_GOOGLE_ACCESS"
  stack_type                 = "IPV4_ONLY"

  log_config {
    aggregation_interval = "INTERVAL_5_SEC"
    flow_sampling        = 1
    metadata             = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_route" "restricted" {
  name             = "${var.network}-restricted-googleapis"
  project          = var.project
  network          = google_compute_network.inner.name
  description      = "The only way out: Google's APIs that VPC Service Controls covers."
  dest_range       = local.restricted_range
  next_hop_gateway = "default-internet-gateway"
}

resource "google_compute_firewall" "deny_egress" {
  name               = "${var.network}-deny-egress"
  project            = var.project
  network            = google_compute_network.inner.name
  description        = "Whatever nothing else allows stays inside, and is logged."
  direction          = "EGRESS"
  priority           = 65534
  destination_ranges = ["0.0.0.0/0"]

  deny {
    protocol = "all"
  }
  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_firewall" "deny_ingress" {
  name          = "${var.network}-deny-ingress"
  project       = var.project
  network       = google_compute_network.inner.name
  description   = "Whatever nothing else allows stays outside, and is logged."
  direction     = "INGRESS"
  priority      = 65534
  source_ranges = ["0.0.0.0/0"]

  deny {
    protocol = "all"
  }
  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_firewall" "restricted" {
  name               = "${var.network}-allow-restricted-googleapis"
  project            = var.project
  network            = google_compute_network.inner.name
  description        = "TLS to Google's restricted addresses."
  direction          = "EGRESS"
  priority           = 1000
  destination_ranges = [local.restricted_range]

  allow {
    protocol = "tcp"
    ports    = ["443"]
  }
  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_firewall" "iap" {
  count = length(var.operators) > 0 ? 1 : 0

  name          = "${var.network}-allow-iap"
  project       = var.project
  network       = google_compute_network.inner.name
  description   = "SSH of the operators, through Identity-Aware Proxy."
  direction     = "INGRESS"
  priority      = 1000
  source_ranges = [local.iap_range]

  allow {
    protocol = "tcp"
    ports    = ["22"]
  }
  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}

# The hosts of one slice agree on a coordinator over the network: https://cloud.google.com/tpu/docs/jax-pods
resource "google_compute_firewall" "slice" {
  for_each = var.multi_host ? toset(["EGRESS", "INGRESS"]) : toset([])

  name               = "${var.network}-allow-slice-${lower(each.key)}"
  project            = var.project
  network            = google_compute_network.inner.name
  description        = "Among the VMs of this subnetwork."
  direction          = each.key
  priority           = 1000
  destination_ranges = each.key == "EGRESS" ? [var.subnetwork_range] : null
  source_ranges      = each.key == "INGRESS" ? [var.subnetwork_range] : null

  allow {
    protocol = "tcp"
  }
  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}
