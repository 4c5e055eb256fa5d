//! machine
pub mod acpi;
pub mod boot;
pub mod smbios;
