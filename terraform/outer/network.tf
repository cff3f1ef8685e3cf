# Where the outer VM installs from the internet. It reaches the web and nothing else; nothing reaches it.

resource "google_compute_network" "outer" {
  project                 = var.project
  name                    = "dmz-outer"
  auto_create_subnetworks = false
  routing_mode            = "REGIONAL"
  depends_on              = [google_project_service.api]
}

resource "google_compute_subnetwork" "outer" {
  project                  = var.project
  name                     = "dmz-outer"
  region                   = var.location
  network                  = google_compute_network.outer.id
  ip_cidr_range            = var.subnet_cidr
  private_ip_google_access = true

  log_config {
    aggregation_interval = "INTERVAL_5_MIN"
    flow_sampling        = 0.5
    metadata             = "INCLUDE_ALL_METADATA"
  }
}

# The metadata server (DNS among it) is reached past every firewall.
resource "google_compute_firewall" "web_out" {
  project            = var.project
  name               = "dmz-outer-web-out"
  description        = "Package indexes and Debian's archives."
  network            = google_compute_network.outer.id
  direction          = "EGRESS"
  priority           = 1000
  destination_ranges = ["0.0.0.0/0"]

  allow {
    protocol = "tcp"
    ports    = ["80", "443"]
  }
}

# Before the web: no neighbour, no peered network, nothing behind a VPN.
resource "google_compute_firewall" "no_neighbours" {
  project            = var.project
  name               = "dmz-outer-no-neighbours"
  description        = "Private and link-local addresses are no package index."
  network            = google_compute_network.outer.id
  direction          = "EGRESS"
  priority           = 900
  destination_ranges = ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16"]

  deny {
    protocol = "all"
  }

  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_firewall" "nothing_else_out" {
  project            = var.project
  name               = "dmz-outer-nothing-else-out"
  description        = "Any other port."
  network            = google_compute_network.outer.id
  direction          = "EGRESS"
  priority           = 65000
  destination_ranges = ["0.0.0.0/0"]

  deny {
    protocol = "all"
  }

  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_firewall" "nothing_in" {
  project       = var.project
  name          = "dmz-outer-nothing-in"
  description   = "Nobody has to reach an outer VM: it reports by event, its serial console is read through Google."
  network       = google_compute_network.outer.id
  direction     = "INGRESS"
  priority      = 65000
  source_ranges = ["0.0.0.0/0"]

  deny {
    protocol = "all"
  }

  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}
