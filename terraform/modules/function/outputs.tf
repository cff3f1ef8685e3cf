output "account" {
  description = "E-mail of the service account that the stage runs as."
  value       = local.account
}

output "member" {
  description = "The stage's service account as an IAM member."
  value       = "serviceAccount:${local.account}"
}

output "service" {
  description = "Name of the Cloud Run service; null before there is an image."
  value       = one(google_cloud_run_v2_service.stage[*].name)
}

output "subscriptions" {
  description = "Topic to the subscription by which it is pushed to the stage."
  value       = { for topic, one in google_pubsub_subscription.push : topic => one.name }
}
