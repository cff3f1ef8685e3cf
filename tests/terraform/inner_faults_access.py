"""Faults in who may do what in the inner project: rights, keys, data services, the perimeter."""

from __future__ import annotations

from tests.terraform.fault import Fault

RIGHTS = (
    Fault(
        "a keeper of VMs who enters them",
        "inner/accounts.tf",
        '"tpu.operations.get"',
        '"tpu.operations.get", "tpu.nodes.update"',
        "exact_roles",
    ),
    Fault(
        "a keeper of VMs who cannot delete them",
        "inner/accounts.tf",
        '"tpu.nodes.create", "tpu.nodes.delete"',
        '"tpu.nodes.create"',
        "exact_roles",
    ),
    Fault(
        "an evictor of whole packages",
        "inner/crossing.tf",
        '["artifactregistry.versions.delete"]',
        '["artifactregistry.versions.delete", "artifactregistry.packages.delete"]',
        "exact_roles",
    ),
    Fault(
        "operators who make VMs",
        "inner/accounts.tf",
        '"tpu.nodes.list", "tpu.nodes.update"',
        '"tpu.nodes.list", "tpu.nodes.create", "tpu.nodes.update"',
        "exact_roles",
    ),
    Fault(
        "a role that nobody knows",
        "inner/accounts.tf",
        '"packageDmzVmKeeper"',
        '"packageDmzEverything"',
        "exact_roles",
    ),
    Fault(
        "a role that does not exist",
        "inner/accounts.tf",
        '"roles/logging.logWriter",                 ',
        '"roles/logging.writer",',
        "known_roles",
    ),
    Fault(
        "a basic role",
        "inner/accounts.tf",
        '"roles/logging.logWriter",                 ',
        '"roles/editor",',
        "no_basic_roles",
    ),
    Fault(
        "packages for everybody",
        "inner/accounts.tf",
        '''role       = "roles/artifactregistry.reader"
  member     = "serviceAccount:${local.vm}"''',
        '''role       = "roles/artifactregistry.reader"
  member     = "allAuthenticatedUsers"''',
        "nobody_is_everybody",
    ),
    Fault(
        "a role that gives itself more",
        "inner/accounts.tf",
        '"tpu.operations.get"',
        '"tpu.operations.get", "resourcemanager.projects.setIamPolicy"',
        "known_roles",
    ),
    Fault(
        "every account for VMs",
        "inner/accounts.tf",
        '''"google_project_iam_member" "vm_keeper" {
  project = var.project
  role    = "projects/${var.project}/roles/${google_project_iam_custom_role.vm_keeper.role_id}"''',
        '''"google_project_iam_member" "vm_keeper" {
  project = var.project
  role    = "roles/iam.serviceAccountUser"''',
        "project_wide",
    ),
    Fault(
        "the VM writes packages of the outer project's",
        "inner/crossing.tf",
        '''member     = var.outer.sync
}

resource "google_project_iam_custom_role"''',
        '''member     = "serviceAccount:outer-vm@${var.outer.project}.iam.gserviceaccount.com"
}

resource "google_project_iam_custom_role"''',
        "inward",
    ),
    Fault(
        "sync reads data services' images",
        "inner/crossing.tf",
        """  repository = google_artifact_registry_repository.images.repository_id
  role       = "roles/artifactregistry.writer"
  member     = each.key""",
        """  repository = google_artifact_registry_repository.images.repository_id
  role       = "roles/artifactregistry.reader"
  member     = each.key""",
        "inward",
    ),
    Fault(
        "sync makes VMs",
        "inner/accounts.tf",
        """  member  = module.inner.member
}

# A VM may""",
        """  member  = var.outer.sync
}

# A VM may""",
        "inward",
    ),
    Fault(
        "sync is whoever says so",
        "inner/crossing.tf",
        """role       = "roles/artifactregistry.writer"
  member     = var.outer.sync""",
        """role       = "roles/artifactregistry.repoAdmin"
  member     = var.outer.sync""",
        "inward",
    ),
    Fault(
        "the service's account decrypts",
        "inner/key.tf",
        "members       = each.value[*].member",
        'members       = ["serviceAccount:${local.data_services[each.value[0].service]}"]',
        "key_for_attested",
    ),
    Fault(
        "every attested image decrypts",
        "inner/key.tf",
        "members       = each.value[*].member",
        'members       = ["principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/dmz-attested/*"]',
        "key_for_attested",
    ),
    Fault(
        "an image of another pool decrypts",
        "inner/key.tf",
        "members       = each.value[*].member",
        'members       = [for each in each.value : replace(each.member, "dmz-attested", "somebodys")]',
        "key_for_attested",
    ),
    Fault(
        "for ever",
        "inner/key.tf",
        'for_each = each.value[0].expression == "" ? [] : [each.value[0]]',
        "for_each = []",
        "key_for_attested",
    ),
    Fault(
        "owners of data decrypt too",
        "inner/key.tf",
        '"roles/cloudkms.cryptoKeyEncrypter"',
        '"roles/cloudkms.cryptoKeyEncrypterDecrypter"',
        "key_for_attested",
    ),
    Fault(
        "no condition",
        "inner/attestation.tf",
        """attribute_condition                = each.value.provider.attribute_condition
""",
        "",
        "provider_condition",
    ),
    Fault(
        "a looser condition",
        "inner/attestation.tf",
        "= each.value.provider.attribute_condition",
        "= \"assertion.swname == 'CONFIDENTIAL_SPACE'\"",
        "provider_condition",
    ),
    Fault(
        "keys of somebody's",
        "inner/attestation.tf",
        "    allowed_audiences = each",
        """    jwks_json         = "{}"
    allowed_audiences = each""",
        "provider_condition",
    ),
    Fault(
        "an external address",
        "modules/confidential_space/instance.tf",
        """    nic_type   = "GVNIC"
""",
        """    nic_type   = "GVNIC"
    access_config {}
""",
        "no_external_address",
    ),
    Fault(
        "packets are forwarded",
        "modules/confidential_space/instance.tf",
        "can_ip_forward      = false",
        "can_ip_forward      = true",
        "no_external_address",
    ),
    Fault(
        "an image by tag",
        "modules/confidential_space/instance.tf",
        "${var.service}@${var.image_digest}",
        "${var.service}:latest",
        "confidential_space",
    ),
    Fault(
        "the debug image",
        "modules/confidential_space/instance.tf",
        "image = var.boot_image",
        'image = "projects/confidential-space-images/global/images/family/confidential-space-debug"',
        "confidential_space",
    ),
    Fault(
        "memory in the clear",
        "modules/confidential_space/instance.tf",
        """    confidential_instance_type  = var.confidential_type
""",
        "",
        "confidential_space",
    ),
    Fault(
        "no secure boot",
        "modules/confidential_space/instance.tf",
        "enable_secure_boot          = true",
        "enable_secure_boot          = false",
        "confidential_space",
    ),
    Fault(
        "the default account",
        "modules/confidential_space/instance.tf",
        "email  = var.account",
        'email  = "123456789012-compute@developer.gserviceaccount.com"',
        "confidential_space",
    ),
    Fault(
        "one account for all data services",
        "inner/accounts.tf",
        '"data-${replace(each.key, "_", "-")}"',
        '"data-service"',
        "confidential_space",
    ),
    Fault(
        "another network",
        "inner/services.tf",
        "subnetworks/${google_compute_subnetwork.inner.name}",
        "subnetworks/default",
        "confidential_space",
    ),
    Fault(
        "a perimeter without storage",
        "inner/perimeter.tf",
        """    "storage.googleapis.com",
""",
        "",
        "perimeter",
    ),
    Fault(
        "VMs call everything",
        "inner/perimeter.tf",
        "enable_restriction = true",
        "enable_restriction = false",
        "perimeter",
    ),
    Fault(
        "everybody enters",
        "inner/perimeter.tf",
        "identities = ingress_policies.value.identities",
        'identity_type = "ANY_IDENTITY"',
        "perimeter",
    ),
    Fault(
        "it leads anywhere",
        "inner/perimeter.tf",
        """          resources = ["projects/${data.google_project.outer[0].number}"]
          dynamic""",
        """          resources = ["*"]
          dynamic""",
        "perimeter",
    ),
    Fault(
        "nobody hears of a kept VM",
        "inner/alerts.tf",
        '"inner VM up for long" =',
        '"outer VM up for long" =',
        "alerts",
    ),
    Fault(
        "the alert watches other subscriptions",
        "inner/alerts.tf",
        'full_match(\\"inner--.*\\")',
        'full_match(\\"outer--.*\\")',
        "alerts",
    ),
    Fault(
        "a distribution is no number",
        "inner/alerts.tf",
        '"ALIGN_PERCENTILE_99"',
        '"ALIGN_DELTA"',
        "slowness",
    ),
    Fault(
        "retries are counted by another event",
        "inner/metrics.tf",
        "delivery-postponed",
        "delivery-retried",
        "log_metrics",
    ),
    Fault(
        "people from anywhere, in spite of access levels",
        "inner/perimeter.tf",
        'length(var.access_levels) > 0 ? sort(var.access_levels) : ["*"]',
        '["*"]',
        "let_in",
    ),
    Fault(
        "packages from anywhere",
        "inner/perimeter.tf",
        """      identities = [var.outer.sync]
      people     = false""",
        """      identities = [var.outer.sync]
      people     = true""",
        "let_in",
    ),
    Fault(
        "sync from any network",
        "inner/perimeter.tf",
        "resource = sources.value",
        'access_level = "*"',
        "let_in",
    ),
    Fault(
        "packages from somebody's project",
        "inner/perimeter.tf",
        ': "projects/${one.number}"]',
        ': "projects/999999999999"]',
        "let_in",
    ),
    Fault(
        "operators are shut out",
        "inner/perimeter.tf",
        "identities = sort(var.operators)",
        "identities = []",
        "let_in",
    ),
    Fault(
        "owners of data are shut out",
        "inner/perimeter.tf",
        "length(var.data_services) > 0 ? sort(var.data_owners) : []",
        "[]",
        "let_in",
    ),
    Fault(
        "images are promoted by builds alone",
        "inner/perimeter.tf",
        """      identities = sort(var.image_pushers)
      people     = true""",
        """      identities = sort(var.image_pushers)
      people     = false""",
        "let_in",
    ),
    Fault(
        "owners of data reach repositories",
        "inner/perimeter.tf",
        'services   = ["cloudkms.googleapis.com"]',
        'services   = ["artifactregistry.googleapis.com", "cloudkms.googleapis.com"]',
        "let_in",
    ),
    Fault(
        "whoever sits in the office",
        "inner/perimeter.tf",
        "    restricted_services = local.restricted_services",
        """    access_levels       = var.access_levels
    restricted_services = local.restricted_services""",
        "perimeter",
    ),
    Fault(
        "owners of data who may nothing",
        "inner/key.tf",
        "length(var.data_owners) > 0 ? var.data_services : {}",
        "{}",
        "people_hold_rights",
    ),
    Fault(
        "an image that no export admits",
        "inner/attestation.tf",
        "local.chosen[each.key] == null ? false : contains(each.value.images[*].image_digest, local.chosen[each.key])",
        "false",
        "terraform",
    ),
)
