"""Faults in what seals the inner project: network, names, repositories."""

from __future__ import annotations

from tests.terraform.fault import Fault

_POLICY = """
resource "google_compute_network_firewall_policy" "opened" {
  project = var.project
  name    = "opened"
}
resource "google_compute_network_firewall_policy_rule" "opened" {
  project         = var.project
  firewall_policy = google_compute_network_firewall_policy.opened.name
  action          = "allow"
  direction       = "EGRESS"
  priority        = 1
  match {
    dest_ip_ranges = ["0.0.0.0/0"]
    layer4_configs {
      ip_protocol = "all"
    }
  }
}
resource "google_compute_network_firewall_policy_association" "opened" {
  project           = var.project
  name              = "opened"
  attachment_target = google_compute_network.inner.id
  firewall_policy   = google_compute_network_firewall_policy.opened.name
}
"""
_SINK = """
resource "google_logging_project_sink" "away" {
  project     = var.project
  name        = "away"
  destination = "storage.googleapis.com/somebodys"
}
"""
_ROUTE = """resource "google_compute_route" "restricted" {"""

SEALED = (
    Fault("a firewall policy before the rules", "inner/network.tf", _ROUTE, _POLICY + _ROUTE, "listed_types"),
    Fault("logs are carried away", "inner/network.tf", _ROUTE, _SINK + _ROUTE, "listed_types"),
    Fault(
        "somebody's name server",
        "inner/dns.tf",
        "  enable_logging ",
        """  alternative_name_server_config {
    target_name_servers {
      ipv4_address = "203.0.113.53"
    }
  }
  enable_logging """,
        "questions_logged",
    ),
    Fault(
        "questions are not logged",
        "inner/dns.tf",
        "enable_logging = true",
        "enable_logging = false",
        "questions_logged",
    ),
    Fault(
        "packets go through somebody's machine",
        "inner/network.tf",
        'next_hop_gateway = "default-internet-gateway"',
        'next_hop_ip = "10.10.0.9"',
        "no_default_route",
    ),
    Fault(
        "packets go through a tunnel",
        "inner/network.tf",
        'next_hop_gateway = "default-internet-gateway"',
        'next_hop_vpn_tunnel = "projects/p/regions/us-central1/vpnTunnels/t"',
        "no_default_route",
    ),
    Fault(
        "the restricted rule lets everything out",
        "inner/network.tf",
        """  destination_ranges = [local.restricted_range]
""",
        """  destination_ranges = ["0.0.0.0/0"]
""",
        "egress_closed",
    ),
    Fault(
        "the private addresses instead of the restricted",
        "inner/network.tf",
        '= "199.36.153.4/30"',
        '= "199.36.153.8/30"',
        "egress_closed",
    ),
    Fault(
        "all ports",
        "inner/network.tf",
        """    ports    = ["443"]
""",
        "",
        "egress_closed",
    ),
    Fault(
        "http as well",
        "inner/network.tf",
        '["443"]',
        '["443", "80"]',
        "egress_closed",
    ),
    Fault(
        "udp",
        "inner/network.tf",
        """    protocol = "tcp"
    ports    = ["443"]""",
        """    protocol = "udp"
    ports    = ["443"]""",
        "egress_closed",
    ),
    Fault(
        "egress is not denied",
        "inner/network.tf",
        """  direction          = "EGRESS"
  priority           = 65534
""",
        """  direction          = "EGRESS"
  priority           = 65534
  disabled           = true
""",
        "egress_closed",
    ),
    Fault(
        "tagged machines only are denied",
        "inner/network.tf",
        """  direction          = "EGRESS"
  priority           = 65534
""",
        """  direction          = "EGRESS"
  priority           = 65534
  target_tags        = ["tpu"]
""",
        "egress_closed",
    ),
    Fault(
        "tcp only is denied",
        "inner/network.tf",
        '    protocol = "all"',
        '    protocol = "tcp"',
        "egress_closed",
    ),
    Fault(
        "SSH from everywhere",
        "inner/network.tf",
        "source_ranges = [local.iap_range]",
        'source_ranges = ["0.0.0.0/0"]',
        "ingress_closed",
    ),
    Fault(
        "every port for IAP",
        "inner/network.tf",
        """    ports    = ["22"]
""",
        "",
        "ingress_closed",
    ),
    Fault(
        "ingress is allowed",
        "inner/network.tf",
        """direction     = "INGRESS"
  priority      = 65534""",
        """direction     = "INGRESS"
  priority      = 65534
  disabled      = true""",
        "ingress_closed",
    ),
    Fault(
        "the default route stays",
        "inner/network.tf",
        "delete_default_routes_on_create = true",
        "delete_default_routes_on_create = false",
        "no_default_route",
    ),
    Fault(
        "subnetworks by themselves",
        "inner/network.tf",
        "auto_create_subnetworks         = false",
        "auto_create_subnetworks         = true",
        "no_default_route",
    ),
    Fault(
        "a route to everywhere",
        "inner/network.tf",
        "dest_range       = local.restricted_range",
        'dest_range       = "0.0.0.0/0"',
        "no_default_route",
    ),
    Fault(
        "rules of another network",
        "inner/network.tf",
        """network            = google_compute_network.inner.name
  description        = "Whatever""",
        """network            = "default"
  description        = "Whatever""",
        "no_default_route",
    ),
    Fault(
        "no Private Google Access",
        "inner/network.tf",
        "private_ip_google_access   = true",
        "private_ip_google_access   = false",
        "subnetwork",
    ),
    Fault(
        "IPv6",
        "inner/network.tf",
        '"IPV4_ONLY"',
        '"IPV4_IPV6"',
        "subnetwork",
    ),
    Fault(
        "flows are not logged",
        "inner/network.tf",
        """  log_config {
    aggregation_interval = "INTERVAL_5_SEC"
    flow_sampling        = 1
    metadata             = "INCLUDE_ALL_METADATA"
  }
""",
        "",
        "subnetwork",
    ),
    Fault(
        "other names are resolved",
        "inner/dns.tf",
        '  dns_name        = "*."',
        '  dns_name        = "*.example.com."',
        "answered_names",
    ),
    Fault(
        "a public name is known",
        "inner/dns.tf",
        '"sts.googleapis.com."',
        '"pypi.org."',
        "answered_names",
    ),
    Fault(
        "every name of Google",
        "inner/dns.tf",
        '"sts.googleapis.com."',
        '"*.googleapis.com."',
        "answered_names",
    ),
    Fault(
        "public addresses",
        "inner/dns.tf",
        """      name    = each.value
      type    = "A"
      ttl     = 300
      rrdatas = local.restricted_addresses""",
        """      name    = each.value
      type    = "A"
      ttl     = 300
      rrdatas = ["142.250.1.95"]""",
        "answered_names",
    ),
    Fault(
        "a sink that is somebody's",
        "inner/dns.tf",
        '["0.0.0.0"]',
        '["203.0.113.7"]',
        "answered_names",
    ),
    Fault(
        "a policy without a network",
        "inner/dns.tf",
        """  description          = "Answers the Google names that are needed, and no other."

  networks {
    network_url = google_compute_network.inner.id
  }
""",
        "",
        "answered_names",
    ),
    Fault(
        "a public zone",
        "inner/dns.tf",
        'visibility  = "private"',
        'visibility  = "public"',
        "private_zones",
    ),
    Fault(
        "no zone for pkg.dev",
        "inner/dns.tf",
        ', pkg-dev = "pkg.dev."',
        "",
        "private_zones",
    ),
    Fault(
        "a wildcard elsewhere",
        "inner/dns.tf",
        "[google_dns_record_set.address[each.key].name]",
        '["private.googleapis.com."]',
        "private_zones",
    ),
    Fault(
        "virtual repositories",
        "inner/repositories.tf",
        """mode            = "STANDARD_REPOSITORY"
  description     = "Judged""",
        """mode            = "VIRTUAL_REPOSITORY"
  description     = "Judged""",
        "standard_repositories",
    ),
    Fault(
        "a remote repository",
        "inner/repositories.tf",
        "  docker_config {",
        """  remote_repository_config {
    docker_repository {
      public_repository = "DOCKER_HUB"
    }
  }

  docker_config {""",
        "standard_repositories",
    ),
    Fault(
        "packages end after three months",
        "inner/repositories.tf",
        '  description     = "Judged packages: sync writes, inner VMs read."',
        """  description     = "Judged packages: sync writes, inner VMs read."
  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      older_than = "7776000s"
    }
  }""",
        "standard_repositories",
    ),
    Fault(
        "tags that move",
        "inner/repositories.tf",
        "immutable_tags = true",
        "immutable_tags = false",
        "standard_repositories",
    ),
)
