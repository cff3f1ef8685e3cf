output "reference" {
  description = "The image that runs, by digest."
  value       = local.reference
}
