mock_provider "google" {}

variables {
  account          = "data-aggregator@dmz-inner-test.iam.gserviceaccount.com"
  events_project   = "dmz-outer-test"
  image_digest     = "sha256:05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f"
  image_repository = "dmz-images"
  location         = "us-central1"
  project          = "dmz-inner-test"
  service          = "task_builder"
  subnetwork       = "projects/dmz-inner-test/regions/us-central1/subnetworks/dmz-inner"
  zone             = "us-central1-a"
}

run "as_the_launcher_reads_it" {
  command = plan

  assert {
    condition     = google_compute_instance.service.metadata["tee-image-reference"] == "us-central1-docker.pkg.dev/dmz-inner-test/dmz-images/task_builder@sha256:05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f"
    error_message = "The image is not named by its digest."
  }
  assert {
    condition     = google_compute_instance.service.metadata["tee-env-DMZ_SUBSCRIPTION"] == "task_builder--nonce-issued" && google_compute_instance.service.metadata["tee-env-DMZ_PROJECT"] == "dmz-outer-test"
    error_message = "The service would not hear its nonces."
  }
  assert {
    condition     = google_compute_instance.service.name == "data-task-builder" && length(google_compute_instance.service.network_interface[0].access_config) == 0
    error_message = "The VM has another name, or an external address."
  }
}

run "sev" {
  command = plan

  variables {
    confidential_type = "SEV"
    machine_type      = "n2d-standard-4"
  }

  assert {
    condition     = google_compute_instance.service.confidential_instance_config[0].confidential_instance_type == "SEV"
    error_message = "SEV was asked for."
  }
}

run "no_machine_without_the_protection" {
  command = plan

  variables {
    machine_type = "n2-standard-4"
  }
  expect_failures = [var.machine_type]
}

run "no_debug_image" {
  command = plan

  variables {
    boot_image = "projects/confidential-space-images/global/images/family/confidential-space-debug"
  }
  expect_failures = [var.boot_image]
}

run "no_variable_that_redirects_the_nonces" {
  command = plan

  variables {
    environment = { DMZ_SUBSCRIPTION = "another" }
  }
  expect_failures = [var.environment]
}
