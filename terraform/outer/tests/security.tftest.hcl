# The security properties by name, on any machine: providers are mocked, nothing is made.

mock_provider "google" {
  override_data {
    target = data.google_project.outer
    values = { number = "123456789012" }
  }
  override_data {
    target = data.google_storage_transfer_project_service_account.transfer
    values = { member = "serviceAccount:project-123456789012@storage-transfer-service.iam.gserviceaccount.com" }
  }
}

mock_provider "google-beta" {}

variables {
  advisories_in_bucket = true
  image                = "us-central1-docker.pkg.dev/dmz-outer-test/dmz-services/services@sha256:abababababababababababababababababababababababababababababababab"
  operators            = ["group:operators@example.com"]
  project              = "dmz-outer-test"

  inner = {
    data_services = { collector = "serviceAccount:data-collector@dmz-inner-test.iam.gserviceaccount.com" }
    deployer      = "group:deployers@example.com"
    function      = "serviceAccount:inner-stage@dmz-inner-test.iam.gserviceaccount.com"
    project       = "dmz-inner-test"
    pubsub_agent  = "serviceAccount:service-2@gcp-sa-pubsub.iam.gserviceaccount.com"
    run_agent     = "serviceAccount:service-2@serverless-robot-prod.iam.gserviceaccount.com"
    vm            = "serviceAccount:inner-vm@dmz-inner-test.iam.gserviceaccount.com"
  }
}

run "nobody_is_everybody" {
  command = plan

  assert {
    condition = alltrue([for one in concat(
      values(google_pubsub_topic_iam_member.publisher)[*].member,
      values(google_pubsub_topic_iam_member.dead_letters)[*].member,
      values(google_storage_bucket_iam_member.policies_reader)[*].member,
      values(google_storage_bucket_iam_member.advisories_reader)[*].member,
      values(google_artifact_registry_repository_iam_member.staging_writer)[*].member,
    ) : can(regex("^(serviceAccount|group|user):", one))])
    error_message = "Somebody unnamed may publish, read or write."
  }
}

run "the_outer_vm_reports_and_does_nothing_else" {
  command = plan

  assert {
    condition     = [for one in google_pubsub_topic_iam_member.publisher : one.topic if strcontains(one.member, "outer-vm@")] == ["outer-install-completed"]
    error_message = "The outer VM runs strangers' code: it may publish its one report."
  }
  assert {
    condition     = length([for one in google_project_iam_member.database_user : one if strcontains(one.member, "outer-vm@")]) == 0
    error_message = "The outer VM must not read or write the database."
  }
}

run "a_vm_is_given_the_outer_vms_account_alone" {
  command = plan

  assert {
    condition     = google_service_account_iam_member.outer_gives_its_vms.service_account_id == "projects/dmz-outer-test/serviceAccounts/outer-vm@dmz-outer-test.iam.gserviceaccount.com"
    error_message = "The outer stage may give its VMs another account than outer-vm."
  }
}

run "the_vm_keeper_keeps_vms" {
  command = plan

  assert {
    condition     = alltrue([for one in google_project_iam_custom_role.vm_keeper.permissions : startswith(one, "tpu.")])
    error_message = "The role of the outer stage holds more than Cloud TPU's permissions."
  }
}

run "the_database_outlives_mistakes" {
  command = plan

  assert {
    condition     = google_firestore_database.dmz.delete_protection_state == "DELETE_PROTECTION_ENABLED" && google_firestore_database.dmz.point_in_time_recovery_enablement == "POINT_IN_TIME_RECOVERY_ENABLED"
    error_message = "The database can be deleted, or cannot be brought back to yesterday."
  }
  assert {
    condition     = alltrue([for one in google_project_iam_member.database_user : one.condition[0].expression == "resource.name == \"projects/dmz-outer-test/databases/(default)\""])
    error_message = "A stage may use any database of the project."
  }
}

run "buckets_cannot_be_opened" {
  command = plan

  assert {
    condition     = alltrue([for one in google_storage_bucket.dmz : one.public_access_prevention == "enforced" && one.uniform_bucket_level_access && !one.force_destroy && one.versioning[0].enabled])
    error_message = "A bucket could be opened to everybody, or forgets what it held."
  }
}

run "nothing_reaches_the_outer_network" {
  command = plan

  assert {
    condition     = google_compute_firewall.nothing_in.direction == "INGRESS" && length(google_compute_firewall.nothing_in.allow) == 0 && google_compute_firewall.nothing_in.source_ranges == toset(["0.0.0.0/0"])
    error_message = "Something may reach an outer VM."
  }
}

run "the_outer_network_reaches_the_web_alone" {
  command = plan

  assert {
    condition     = one(google_compute_firewall.web_out.allow).protocol == "tcp" && toset(one(google_compute_firewall.web_out.allow).ports) == toset(["80", "443"])
    error_message = "An outer VM reaches more than the web."
  }
  assert {
    condition     = google_compute_firewall.no_neighbours.priority < google_compute_firewall.web_out.priority && google_compute_firewall.web_out.priority < google_compute_firewall.nothing_else_out.priority
    error_message = "Private addresses must be denied before the web is allowed, and the rest after it."
  }
}

run "signing_keys_stay_in_hardware" {
  command = plan

  assert {
    condition     = alltrue([for one in google_kms_crypto_key.signing : one.purpose == "ASYMMETRIC_SIGN" && one.version_template[0].algorithm == "EC_SIGN_P256_SHA256" && one.version_template[0].protection_level == "HSM"])
    error_message = "A signing key is of another kind than shared/gcp/kms.py signs with."
  }
  assert {
    condition     = length(distinct([for one in google_kms_crypto_key_iam_member.signer : one.member if one.role == "roles/cloudkms.signer"])) == 3 && length([for one in google_kms_crypto_key_iam_member.signer : one if one.role == "roles/cloudkms.signer"]) == 3
    error_message = "Each of the three keys has one signer, and each signer one key."
  }
}

run "tokens_are_not_dead_letters" {
  command = plan

  assert {
    condition     = local.pushed["attestation"]["attestation-requested"].credentials && length([for stage, topics in local.pushed : stage if length([for topic, one in topics : topic if one.credentials]) > 0]) == 1
    error_message = "attestation-requested, and it alone, carries credentials."
  }
}

run "a_data_service_hears_its_own_nonces_alone" {
  command = plan

  assert {
    condition     = google_pubsub_subscription.nonces["collector"].filter == "attributes.service = \"collector\""
    error_message = "The service hears nonces of other services."
  }
  assert {
    condition     = google_pubsub_subscription_iam_member.nonces["collector"].member == "serviceAccount:data-collector@dmz-inner-test.iam.gserviceaccount.com"
    error_message = "Somebody else reads the service's nonces."
  }
}

run "before_an_image_there_is_no_service" {
  command = plan

  variables {
    image = null
    inner = null
  }

  assert {
    condition     = alltrue([for one in values(output.services) : one == null]) && length(google_cloud_run_v2_service.console) == 0
    error_message = "Without an image a service would have to run something that nobody judged."
  }
  assert {
    condition     = length([for one in google_pubsub_topic_iam_member.publisher : one if strcontains(one.member, "@dmz-inner-test.")]) == 0
    error_message = "The inner project has rights before it was named."
  }
}

run "the_console_is_behind_iap_and_lets_in_nobody_by_default" {
  command = plan

  assert {
    condition     = google_cloud_run_v2_service.console[0].iap_enabled && !google_cloud_run_v2_service.console[0].invoker_iam_disabled
    error_message = "The console can be reached around IAP."
  }
  assert {
    condition     = google_cloud_run_v2_service_iam_member.console_behind_iap[0].member == "serviceAccount:service-123456789012@gcp-sa-iap.iam.gserviceaccount.com"
    error_message = "Somebody beside IAP calls the console."
  }
  assert {
    condition     = length(google_iap_web_cloud_run_service_iam_member.console_reader) == 0
    error_message = "IAP lets in somebody whom nobody has named."
  }
}

run "the_console_only_reads" {
  command = plan

  assert {
    condition     = google_cloud_run_v2_service.console[0].template[0].service_account == "console@dmz-outer-test.iam.gserviceaccount.com" && google_project_iam_member.console_reads.role == "roles/datastore.viewer"
    error_message = "The console runs as somebody who may write."
  }
}

run "the_watchdog_ticks_every_minute" {
  command = plan

  assert {
    condition     = google_cloud_scheduler_job.sweep.schedule == "* * * * *" && google_cloud_scheduler_job.sweep.pubsub_target[0].topic_name == "projects/dmz-outer-test/topics/sweep-requested"
    error_message = "VMs that nobody needs would stay."
  }
}
