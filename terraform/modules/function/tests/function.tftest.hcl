# What holds of every stage, whoever uses the module.

mock_provider "google" {}

variables {
  dead_letter_topic = "projects/dmz-outer-test/topics/dead-letters"
  environment       = { GOOGLE_CLOUD_PROJECT = "dmz-outer-test" }
  image             = "us-central1-docker.pkg.dev/dmz-outer-test/dmz-services/services@sha256:abababababababababababababababababababababababababababababababab"
  location          = "us-central1"
  name              = "attestation"
  project           = "dmz-outer-test"
  pubsub_agent      = "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"

  topics = {
    attestation-requested = { project = "dmz-outer-test", credentials = true }
    image-built           = { project = "dmz-outer-test" }
  }
}

run "ingress_is_internal_and_callers_are_asked" {
  command = plan

  assert {
    condition     = google_cloud_run_v2_service.stage[0].ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY" && !google_cloud_run_v2_service.stage[0].invoker_iam_disabled
    error_message = "The service takes requests from outside, or from anybody."
  }
}

run "the_image_is_pinned" {
  command = plan

  assert {
    condition     = google_cloud_run_v2_service.stage[0].template[0].containers[0].image == var.image
    error_message = "The service runs another image than the one that was named by digest."
  }
}

run "the_push_account_alone_calls" {
  command = plan

  assert {
    condition     = google_cloud_run_v2_service_iam_member.push[0].role == "roles/run.servicesInvoker" && google_cloud_run_v2_service_iam_member.push[0].member == "serviceAccount:attestation-push@dmz-outer-test.iam.gserviceaccount.com"
    error_message = "Somebody else than Pub/Sub may call the stage."
  }
}

run "pushes_are_authenticated" {
  command = apply # the address of a service is known after it only

  assert {
    condition = alltrue([for one in google_pubsub_subscription.push :
      one.push_config[0].oidc_token[0].service_account_email == "attestation-push@dmz-outer-test.iam.gserviceaccount.com" &&
      one.push_config[0].oidc_token[0].audience == google_cloud_run_v2_service.stage[0].uri &&
      length(one.push_config[0].no_wrapper) == 0
    ])
    error_message = "A push says not who it is, or not to whom."
  }
}

run "pushes_are_patient" {
  command = plan

  assert {
    condition = alltrue([for one in google_pubsub_subscription.push :
      one.ack_deadline_seconds == 600 && one.retry_policy[0].minimum_backoff == "10s" && one.retry_policy[0].maximum_backoff == "600s"
    ])
    error_message = "A stage is pushed to again while it works."
  }
}

run "nothing_is_lost" {
  command = plan

  assert {
    condition     = alltrue([for one in google_pubsub_subscription.push : one.expiration_policy[0].ttl == "" && one.retain_acked_messages])
    error_message = "A subscription expires, or cannot be replayed."
  }
  assert {
    condition     = google_pubsub_subscription.push["image-built"].dead_letter_policy[0].max_delivery_attempts == 10
    error_message = "Pub/Sub gives up before the stage does."
  }
}

run "tokens_are_not_copied" {
  command = plan

  assert {
    condition     = length(google_pubsub_subscription.push["attestation-requested"].dead_letter_policy) == 0 && google_pubsub_subscription.push["attestation-requested"].message_retention_duration == "3600s"
    error_message = "Pub/Sub would copy tokens, or keep them longer than they live."
  }
}

run "without_an_image_there_are_identities_alone" {
  command = plan

  variables {
    image = null
  }

  assert {
    condition     = length(google_cloud_run_v2_service.stage) == 0 && length(google_pubsub_subscription.push) == 0 && output.account == "attestation-stage@dmz-outer-test.iam.gserviceaccount.com"
    error_message = "A service without an image."
  }
}

run "an_image_by_tag" {
  command = plan
  variables {
    image = "us-central1-docker.pkg.dev/dmz-outer-test/dmz-services/services:latest"
  }
  expect_failures = [var.image]
}

run "five_attempts" {
  command = plan
  variables {
    attempts = 5
  }
  expect_failures = [var.attempts]
}

run "a_variable_of_the_platform" {
  command = plan
  variables {
    environment = { LD_PRELOAD = "/policies/x.so" }
  }
  expect_failures = [var.environment]
}

run "a_bucket_over_the_system" {
  command = plan
  variables {
    buckets = { "/usr/lib" = "bucket" }
  }
  expect_failures = [var.buckets]
}

run "deaf" {
  command = plan
  variables {
    topics = {}
  }
  expect_failures = [var.topics]
}
