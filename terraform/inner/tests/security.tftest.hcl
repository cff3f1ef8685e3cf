# What has to hold of every deployment, by Terraform itself: `terraform test` needs no cloud.
# tests/terraform/inner_checks.py asks more, over the whole plan.

mock_provider "google" {
  mock_data "google_project" {
    defaults = {
      number = "123456789012"
    }
  }
}

mock_provider "google-beta" {}

variables {
  access_policy = "987654321"
  data_owners   = ["group:data@example.com"]
  deployer      = "group:deployers@example.com"
  project       = "dmz-inner-test"

  data_services = {
    aggregator = {
      image_digest = "sha256:05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f"
      export       = "tests/aggregator.export.json"
    }
  }

  outer = {
    dead_letter_topic = "projects/dmz-outer-test/topics/dead-letters"
    image             = "us-central1-docker.pkg.dev/dmz-outer-test/dmz-services/services@sha256:abababababababababababababababababababababababababababababababab"
    location          = "us-central1"
    project           = "dmz-outer-test"
    sync              = "serviceAccount:sync-stage@dmz-outer-test.iam.gserviceaccount.com"
    topics            = { sync-completed = "projects/dmz-outer-test/topics/sync-completed" }
  }
}

run "egress_closed" {
  command = plan

  assert {
    condition     = google_compute_firewall.deny_egress.destination_ranges == toset(["0.0.0.0/0"]) && one(google_compute_firewall.deny_egress.deny).protocol == "all"
    error_message = "Egress is not denied."
  }
  assert {
    condition     = length(google_compute_firewall.deny_egress.log_config) == 1
    error_message = "Denied egress is not logged."
  }
  assert {
    condition     = google_compute_firewall.restricted.destination_ranges == toset(["199.36.153.4/30"]) && one(google_compute_firewall.restricted.allow).ports == tolist(["443"])
    error_message = "More than TLS to the restricted addresses is allowed."
  }
  assert {
    condition     = google_compute_firewall.restricted.priority < google_compute_firewall.deny_egress.priority
    error_message = "The restricted addresses are denied too."
  }
}

run "no_default_route" {
  command = plan

  assert {
    condition     = google_compute_network.inner.delete_default_routes_on_create && !google_compute_network.inner.auto_create_subnetworks
    error_message = "The network keeps its default route, or makes subnetworks by itself."
  }
  assert {
    condition     = google_compute_route.restricted.dest_range == "199.36.153.4/30"
    error_message = "The one route leads elsewhere."
  }
}

run "names_are_few" {
  command = plan

  assert {
    condition     = google_dns_response_policy_rule.nothing_else.dns_name == "*."
    error_message = "Names that nobody needs are resolved."
  }
  assert {
    condition     = alltrue([for each in google_dns_response_policy_rule.needed : toset(each.local_data[0].local_datas[0].rrdatas) == toset(["199.36.153.4", "199.36.153.5", "199.36.153.6", "199.36.153.7"])])
    error_message = "A name is answered with another address than the restricted ones."
  }
}

run "standard_repositories" {
  command = plan

  assert {
    condition     = alltrue([for each in google_artifact_registry_repository.packages : each.mode == "STANDARD_REPOSITORY"])
    error_message = "A repository fetches from elsewhere."
  }
  assert {
    condition     = google_artifact_registry_repository.images.docker_config[0].immutable_tags
    error_message = "Tags of images can be moved."
  }
}

run "only_the_attested_decrypt" {
  command = plan

  assert {
    condition = alltrue([for each in google_kms_crypto_key_iam_binding.decrypt :
      each.members == toset(["principalSet://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/dmz-attested/attribute.image_digest/sha256:05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f"])
    ])
    error_message = "Somebody else decrypts."
  }
  assert {
    condition     = length(google_kms_crypto_key_iam_binding.decrypt) == 1
    error_message = "Nobody decrypts."
  }
}

run "sealed_by_perimeter" {
  command = plan

  assert {
    condition     = output.sealed_by == "sealed by route and perimeter" && length(google_access_context_manager_service_perimeter.inner) == 1
    error_message = "An access policy was given, and there is no perimeter."
  }
}

run "sealed_by_route_only" {
  command = plan

  variables {
    access_policy = null
  }

  assert {
    condition     = output.sealed_by == "sealed by route only" && length(google_access_context_manager_service_perimeter.inner) == 0
    error_message = "What seals is not said."
  }
}

run "the_first_apply_has_no_service" {
  command = plan

  variables {
    data_services = {}
    outer = {
      dead_letter_topic = "projects/dmz-outer-test/topics/dead-letters"
      location          = "us-central1"
      project           = "dmz-outer-test"
      sync              = "serviceAccount:sync-stage@dmz-outer-test.iam.gserviceaccount.com"
      topics            = { sync-completed = "projects/dmz-outer-test/topics/sync-completed" }
    }
  }

  assert {
    condition     = output.service == null && output.identities.vm == "serviceAccount:inner-vm@dmz-inner-test.iam.gserviceaccount.com"
    error_message = "Identities come before the image."
  }
}

run "no_shared_project" {
  command = plan

  variables {
    project = "dmz-outer-test"
  }
  expect_failures = [var.project]
}

run "no_image_by_tag" {
  command = plan

  variables {
    data_services = { aggregator = { image_digest = "latest", export = "tests/aggregator.export.json" } }
  }
  expect_failures = [var.data_services]
}

run "no_image_without_a_reference_value" {
  command = plan

  variables {
    data_services = {
      aggregator = {
        image_digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
        export       = "tests/aggregator.export.json"
      }
    }
  }
  expect_failures = [google_iam_workload_identity_pool_provider.attested]
}

run "the_only_image_of_an_export_needs_no_name" {
  command = plan

  variables {
    data_services = { aggregator = { export = "tests/aggregator.export.json" } }
  }

  assert {
    condition     = output.data_services["aggregator"] != null
    error_message = "The image is the export's."
  }
}

run "no_export_of_another_service" {
  command = plan

  variables {
    data_services = {
      collector = {
        image_digest = "sha256:05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f"
        export       = "tests/aggregator.export.json"
      }
    }
  }
  expect_failures = [google_iam_workload_identity_pool_provider.attested]
}

run "no_key_through_another_pool" {
  command = plan

  variables {
    decrypt_pool = "another-pool"
  }
  expect_failures = [google_kms_crypto_key_iam_binding.decrypt]
}

run "no_stranger_writes_packages" {
  command = plan

  variables {
    outer = {
      dead_letter_topic = "projects/dmz-outer-test/topics/dead-letters"
      location          = "us-central1"
      project           = "dmz-outer-test"
      sync              = "allUsers"
      topics            = { sync-completed = "projects/dmz-outer-test/topics/sync-completed" }
    }
  }
  expect_failures = [var.outer]
}

run "no_everybody_among_operators" {
  command = plan

  variables {
    operators = ["allAuthenticatedUsers"]
  }
  expect_failures = [var.operators]
}

run "no_names_of_others" {
  command = plan

  variables {
    more_names = ["pypi.org."]
  }
  expect_failures = [var.more_names]
}

run "more_names_of_google" {
  command = plan

  variables {
    more_names = ["storage.googleapis.com."]
  }

  assert {
    condition     = toset(google_dns_response_policy_rule.needed["storage-googleapis-com"].local_data[0].local_datas[0].rrdatas) == toset(["199.36.153.4", "199.36.153.5", "199.36.153.6", "199.36.153.7"])
    error_message = "A further name is answered with another address than the restricted ones."
  }
}
