output "data_services" {
  description = "By service: the image that runs, and the key for its data."
  value = {
    for name, one in module.data_service : name => {
      image = one.reference
      key   = local.keys[name]
    }
  }
}

output "identities" {
  description = "Who of this project speaks to the outer one: its variable `inner`, as it is."
  value = {
    data_services = { for name, account in local.data_services : name => "serviceAccount:${account}" }
    deployer      = var.deployer
    function      = module.inner.member
    number        = local.number
    project       = var.project
    pubsub_agent  = local.pubsub_agent
    run_agent     = local.run_agent
    vm            = "serviceAccount:${local.vm}"
  }
}

output "sealed_by" {
  description = "What keeps data inside. By route only, a stolen credential could still carry them into somebody else's project through Google's own interfaces."
  value       = local.sealed_by
}

output "service" {
  description = "The inner function's Cloud Run service; null before there is an image."
  value       = module.inner.service
}
