"""Faults seeded into terraform/inner one by one, and the check that must see each.

`check` is a name of inner_checks.CHECKS, or REFUSED where Terraform must not even make a plan.
"""

from __future__ import annotations

from dataclasses import dataclass

REFUSED = "refused by Terraform"


@dataclass(frozen=True)
class Fault:
    """Replace `old`, which stands once or more in `file` below terraform/, by `new`."""

    name: str
    file: str
    old: str
    new: str
    check: str


def _f(name: str, file: str, old: str, new: str, check: str) -> Fault:
    return Fault(name, file if "/" in file else f"inner/{file}", old, new, check)


_RESTRICTED_RULE = """  destination_ranges = [local.restricted_range]
"""
_DENY_EGRESS = """  direction          = "EGRESS"
  priority           = 65534
"""
_SERVICES = "modules/confidential_space/instance.tf"
_FUNCTION = "modules/function"

FAULTS: tuple[Fault, ...] = (
    # --- network
    _f("the restricted rule lets everything out", "network.tf", _RESTRICTED_RULE, '  destination_ranges = ["0.0.0.0/0"]\n', "egress_closed"),
    _f("the private addresses instead of the restricted", "network.tf", '= "199.36.153.4/30"', '= "199.36.153.8/30"', "egress_closed"),
    _f("all ports", "network.tf", '    ports    = ["443"]\n', "", "egress_closed"),
    _f("http as well", "network.tf", '["443"]', '["443", "80"]', "egress_closed"),
    _f("udp", "network.tf", '    protocol = "tcp"\n    ports    = ["443"]', '    protocol = "udp"\n    ports    = ["443"]', "egress_closed"),
    _f("egress is not denied", "network.tf", _DENY_EGRESS, _DENY_EGRESS + "  disabled           = true\n", "egress_closed"),
    _f("tagged machines only are denied", "network.tf", _DENY_EGRESS, _DENY_EGRESS + '  target_tags        = ["tpu"]\n', "egress_closed"),
    _f("tcp only is denied", "network.tf", '    protocol = "all"', '    protocol = "tcp"', "egress_closed"),
    _f("SSH from everywhere", "network.tf", "source_ranges = [local.iap_range]", 'source_ranges = ["0.0.0.0/0"]', "ingress_closed"),
    _f("every port for IAP", "network.tf", '    ports    = ["22"]\n', "", "ingress_closed"),
    _f("ingress is allowed", "network.tf", 'direction     = "INGRESS"\n  priority      = 65534', 'direction     = "INGRESS"\n  priority      = 65534\n  disabled      = true', "ingress_closed"),
    _f("the default route stays", "network.tf", "delete_default_routes_on_create = true", "delete_default_routes_on_create = false", "no_default_route"),
    _f("subnetworks by themselves", "network.tf", "auto_create_subnetworks         = false", "auto_create_subnetworks         = true", "no_default_route"),
    _f("a route to everywhere", "network.tf", "dest_range       = local.restricted_range", 'dest_range       = "0.0.0.0/0"', "no_default_route"),
    _f("rules of another network", "network.tf", "network            = google_compute_network.inner.name\n  description        = \"Whatever", "network            = \"default\"\n  description        = \"Whatever", "no_default_route"),
    _f("no Private Google Access", "network.tf", "private_ip_google_access   = true", "private_ip_google_access   = false", "private_access"),
    _f("IPv6", "network.tf", '"IPV4_ONLY"', '"IPV4_IPV6"', "private_access"),
    _f("flows are not logged", "network.tf", '  log_config {\n    aggregation_interval = "INTERVAL_5_SEC"\n    flow_sampling        = 1\n    metadata             = "INCLUDE_ALL_METADATA"\n  }\n', "", "ranges"),
    # --- names
    _f("other names are resolved", "dns.tf", '  dns_name        = "*."', '  dns_name        = "*.example.com."', "names"),
    _f("a public name is known", "dns.tf", '"sts.googleapis.com."', '"pypi.org."', "names"),
    _f("every name of Google", "dns.tf", '"sts.googleapis.com."', '"*.googleapis.com."', "names"),
    _f("public addresses", "dns.tf", "      name    = each.value\n      type    = \"A\"\n      ttl     = 300\n      rrdatas = local.restricted_addresses", "      name    = each.value\n      type    = \"A\"\n      ttl     = 300\n      rrdatas = [\"142.250.1.95\"]", "names"),
    _f("a sink that is somebody's", "dns.tf", '["0.0.0.0"]', '["203.0.113.7"]', "names"),
    _f("a policy without a network", "dns.tf", '  description          = "Answers the Google names that are needed, and no other."\n\n  networks {\n    network_url = google_compute_network.inner.id\n  }\n', "", "names"),
    _f("a public zone", "dns.tf", 'visibility  = "private"', 'visibility  = "public"', "private_zones"),
    _f("no zone for pkg.dev", "dns.tf", ', pkg-dev = "pkg.dev."', "", "private_zones"),
    _f("a wildcard elsewhere", "dns.tf", "[google_dns_record_set.address[each.key].name]", '["private.googleapis.com."]', "private_zones"),
    # --- repositories
    _f("virtual repositories", "repositories.tf", 'mode            = "STANDARD_REPOSITORY"\n  description     = "Judged', 'mode            = "VIRTUAL_REPOSITORY"\n  description     = "Judged', "standard_repositories"),
    _f("a remote repository", "repositories.tf", "  docker_config {", '  remote_repository_config {\n    docker_repository {\n      public_repository = "DOCKER_HUB"\n    }\n  }\n\n  docker_config {', "standard_repositories"),
    _f("tags that move", "repositories.tf", "immutable_tags = true", "immutable_tags = false", "standard_repositories"),
    # --- who may what
    _f("a role that does not exist", "accounts.tf", '"roles/logging.logWriter",                 ', '"roles/logging.writer",', "roles"),
    _f("a basic role", "accounts.tf", '"roles/logging.logWriter",                 ', '"roles/editor",', "roles"),
    _f("packages for everybody", "accounts.tf", 'role       = "roles/artifactregistry.reader"\n  member     = "serviceAccount:${local.vm}"', 'role       = "roles/artifactregistry.reader"\n  member     = "allAuthenticatedUsers"', "roles"),
    _f("a role that gives itself more", "accounts.tf", '"tpu.operations.get"', '"tpu.operations.get", "resourcemanager.projects.setIamPolicy"', "roles"),
    _f("every account for VMs", "accounts.tf", '"google_project_iam_member" "vm_keeper" {\n  project = var.project\n  role    = "projects/${var.project}/roles/${google_project_iam_custom_role.vm_keeper.role_id}"', '"google_project_iam_member" "vm_keeper" {\n  project = var.project\n  role    = "roles/iam.serviceAccountUser"', "roles"),
    _f("the VM writes packages of the outer project's", "crossing.tf", 'member     = var.outer.sync\n}\n\nresource "google_project_iam_custom_role"', 'member     = "serviceAccount:outer-vm@${var.outer.project}.iam.gserviceaccount.com"\n}\n\nresource "google_project_iam_custom_role"', "inward"),
    _f("sync reads data services' images", "crossing.tf", "  repository = google_artifact_registry_repository.images.repository_id\n  role       = \"roles/artifactregistry.writer\"\n  member     = each.key", "  repository = google_artifact_registry_repository.images.repository_id\n  role       = \"roles/artifactregistry.reader\"\n  member     = each.key", "inward"),
    _f("sync makes VMs", "accounts.tf", "  member  = module.inner.member\n}\n\n# A VM may", "  member  = var.outer.sync\n}\n\n# A VM may", "inward"),
    _f("sync is whoever says so", "crossing.tf", "role       = \"roles/artifactregistry.writer\"\n  member     = var.outer.sync", "role       = \"roles/artifactregistry.repoAdmin\"\n  member     = var.outer.sync", "inward"),
    # --- the key
    _f("the service's account decrypts", "key.tf", 'members       = ["${local.principals}/${each.value.image_digest}"]', 'members       = ["serviceAccount:${local.data_service}"]', "key_for_attested"),
    _f("every attested image decrypts", "key.tf", 'members       = ["${local.principals}/${each.value.image_digest}"]', 'members       = ["principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/dmz-attested/*"]', "key_for_attested"),
    _f("an image of another pool decrypts", "key.tf", 'members       = ["${local.principals}/${each.value.image_digest}"]', 'members       = [replace("${local.principals}/${each.value.image_digest}", "dmz-attested", "somebodys")]', "key_for_attested"),
    _f("for ever", "key.tf", "for_each = try([each.value.condition], [])", "for_each = []", "key_for_attested"),
    _f("owners of data decrypt too", "key.tf", '"roles/cloudkms.cryptoKeyEncrypter"', '"roles/cloudkms.cryptoKeyEncrypterDecrypter"', "key_for_attested"),
    _f("no condition", "attestation.tf", "attribute_condition                = each.value.provider.attribute_condition\n", "", "provider_condition"),
    _f("a looser condition", "attestation.tf", "= each.value.provider.attribute_condition", '= "assertion.swname == \'CONFIDENTIAL_SPACE\'"', "provider_condition"),
    _f("keys of somebody's", "attestation.tf", "    allowed_audiences = each", '    jwks_json         = "{}"\n    allowed_audiences = each', "provider_condition"),
    # --- data services
    _f("an external address", _SERVICES, '    nic_type   = "GVNIC"\n', '    nic_type   = "GVNIC"\n    access_config {}\n', "no_external_address"),
    _f("packets are forwarded", _SERVICES, "can_ip_forward      = false", "can_ip_forward      = true", "no_external_address"),
    _f("an image by tag", _SERVICES, "${var.service}@${var.image_digest}", "${var.service}:latest", "confidential_space"),
    _f("the debug image", _SERVICES, "image = var.boot_image", 'image = "projects/confidential-space-images/global/images/family/confidential-space-debug"', "confidential_space"),
    _f("memory in the clear", _SERVICES, "    confidential_instance_type  = var.confidential_type\n", "", "confidential_space"),
    _f("no secure boot", _SERVICES, "enable_secure_boot          = true", "enable_secure_boot          = false", "confidential_space"),
    _f("the default account", _SERVICES, "email  = var.account", 'email  = "123456789012-compute@developer.gserviceaccount.com"', "confidential_space"),
    _f("another network", "services.tf", "subnetworks/${google_compute_subnetwork.inner.name}", "subnetworks/default", "confidential_space"),
    # --- the function
    _f("anybody calls the function", f"{_FUNCTION}/service.tf", "INGRESS_TRAFFIC_INTERNAL_ONLY", "INGRESS_TRAFFIC_ALL", "function"),
    _f("the function without asking who calls", f"{_FUNCTION}/service.tf", "invoker_iam_disabled = false", "invoker_iam_disabled = true", "function"),
    _f("another account's pushes", f"{_FUNCTION}/subscriptions.tf", "service_account_email = local.push", "service_account_email = local.account", "function"),
    # --- the perimeter
    _f("a perimeter without storage", "perimeter.tf", '    "storage.googleapis.com",\n', "", "perimeter"),
    _f("VMs call everything", "perimeter.tf", "enable_restriction = true", "enable_restriction = false", "perimeter"),
    _f("everybody enters", "perimeter.tf", "identities = [var.deployer]", 'identity_type = "ANY_IDENTITY"', "perimeter"),
    _f("it leads anywhere", "perimeter.tf", "          resources = [\"projects/${data.google_project.outer[0].number}\"]\n          dynamic", '          resources = ["*"]\n          dynamic', "perimeter"),
    # --- what Terraform refuses by itself
    _f("a perimeter around nobody's export", "attestation.tf", 'contains(each.value.images[*].image_digest, var.data_services[each.key].image_digest)', "false", REFUSED),
)
