# What is refused before anything is planned: one sentence for each mistake.

mock_provider "google" {
  override_data {
    target = data.google_project.outer
    values = { number = "123456789012" }
  }
}

mock_provider "google-beta" {}

variables {
  operators = ["group:operators@example.com"]
  project   = "dmz-outer-test"
}

run "an_image_by_tag" {
  command = plan
  variables {
    image = "us-central1-docker.pkg.dev/dmz-outer-test/dmz-services/services:latest"
  }
  expect_failures = [var.image]
}

run "no_operator" {
  command = plan
  variables {
    operators = []
  }
  expect_failures = [var.operators]
}

run "everybody_as_operator" {
  command = plan
  variables {
    operators = ["allUsers"]
  }
  expect_failures = [var.operators]
}

run "everybody_reads_the_console" {
  command = plan
  variables {
    console_readers = ["allAuthenticatedUsers"]
  }
  expect_failures = [var.console_readers]
}

run "a_domain_as_relying_party" {
  command = plan
  variables {
    relying_parties = ["domain:example.com"]
  }
  expect_failures = [var.relying_parties]
}

run "everybody_as_rebuilder" {
  command = plan
  variables {
    rebuilders = ["allAuthenticatedUsers"]
  }
  expect_failures = [var.rebuilders]
}

run "everybody_edits_policies" {
  command = plan
  variables {
    policy_editors = ["allUsers"]
  }
  expect_failures = [var.policy_editors]
}

run "a_stranger_as_inner" {
  command = plan
  variables {
    inner = {
      data_services = {}
      deployer      = "allUsers"
      function      = "serviceAccount:inner-stage@dmz-inner-test.iam.gserviceaccount.com"
      project       = "dmz-inner-test"
      pubsub_agent  = "serviceAccount:service-2@gcp-sa-pubsub.iam.gserviceaccount.com"
      run_agent     = "serviceAccount:service-2@serverless-robot-prod.iam.gserviceaccount.com"
      vm            = "serviceAccount:inner-vm@dmz-inner-test.iam.gserviceaccount.com"
    }
  }
  expect_failures = [var.inner]
}

run "a_stranger_as_data_service" {
  command = plan
  variables {
    inner = {
      data_services = { collector = "allUsers" }
      deployer      = "group:deployers@example.com"
      function      = "serviceAccount:inner-stage@dmz-inner-test.iam.gserviceaccount.com"
      project       = "dmz-inner-test"
      pubsub_agent  = "serviceAccount:service-2@gcp-sa-pubsub.iam.gserviceaccount.com"
      run_agent     = "serviceAccount:service-2@serverless-robot-prod.iam.gserviceaccount.com"
      vm            = "serviceAccount:inner-vm@dmz-inner-test.iam.gserviceaccount.com"
    }
  }
  expect_failures = [var.inner]
}

run "one_account_for_two_services" {
  command = plan
  variables {
    inner = {
      data_services = {
        aggregator = "serviceAccount:data-aggregator@dmz-inner-test.iam.gserviceaccount.com"
        collector  = "serviceAccount:data-aggregator@dmz-inner-test.iam.gserviceaccount.com"
      }
      deployer     = "group:deployers@example.com"
      function     = "serviceAccount:inner-stage@dmz-inner-test.iam.gserviceaccount.com"
      project      = "dmz-inner-test"
      pubsub_agent = "serviceAccount:service-2@gcp-sa-pubsub.iam.gserviceaccount.com"
      run_agent    = "serviceAccount:service-2@serverless-robot-prod.iam.gserviceaccount.com"
      vm           = "serviceAccount:inner-vm@dmz-inner-test.iam.gserviceaccount.com"
    }
  }
  expect_failures = [var.inner]
}

run "too_few_attempts" {
  command = plan
  variables {
    dead_letter_attempts = 5
  }
  expect_failures = [var.dead_letter_attempts]
}

run "a_setting_that_terraform_makes" {
  command = plan
  variables {
    settings = { attestation_signing_key = "/tmp/key.pem" }
  }
  expect_failures = [var.settings]
}

run "a_setting_for_one_machine" {
  command = plan
  variables {
    settings = { registry_endpoint = "http://127.0.0.1:1" }
  }
  expect_failures = [var.settings]
}

run "a_zone_elsewhere" {
  command = plan
  variables {
    zone = "europe-west4-a"
  }
  expect_failures = [var.zone]
}

run "a_project_by_number" {
  command = plan
  variables {
    project = "123456789012"
  }
  expect_failures = [var.project]
}

run "public_addresses_for_vms" {
  command = plan
  variables {
    subnet_cidr = "8.8.8.0/24"
  }
  expect_failures = [var.subnet_cidr]
}

run "a_schedule_of_four_fields" {
  command = plan
  variables {
    run_schedule = { cron = "0 5 * *", workload = "quickstart" }
  }
  expect_failures = [var.run_schedule]
}

run "one_project_for_both" {
  command = plan
  variables {
    inner = {
      data_services = { collector = "serviceAccount:data-collector@dmz-outer-test.iam.gserviceaccount.com" }
      deployer      = "group:deployers@example.com"
      function      = "serviceAccount:inner-stage@dmz-outer-test.iam.gserviceaccount.com"
      project       = "dmz-outer-test"
      pubsub_agent  = "serviceAccount:service-2@gcp-sa-pubsub.iam.gserviceaccount.com"
      run_agent     = "serviceAccount:service-2@serverless-robot-prod.iam.gserviceaccount.com"
      vm            = "serviceAccount:inner-vm@dmz-outer-test.iam.gserviceaccount.com"
    }
  }
  expect_failures = [var.inner]
}
