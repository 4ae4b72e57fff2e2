//! Processor time and memory of the process so far, if the system reports them.

/// Processor seconds of all threads; available on Linux.
pub(crate) fn cpu_seconds() -> Option<f64> {
    // Fields 14 and 15 of the line, in hundredths of a second; the name before them may contain
    // spaces.
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / 100.0)
}

/// Peak resident memory so far, in MiB; available on Linux.
pub(crate) fn peak_memory_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1024.0)
}

/// Memory available without swapping, in bytes; available on Linux.
pub(crate) fn free_memory_bytes() -> Option<u64> {
    let memory = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn linux_tells_time_and_memory() {
        assert!(cpu_seconds().is_some_and(|seconds| (0.0..1e6).contains(&seconds)));
        assert!(free_memory_bytes().is_some_and(|bytes| bytes > 0));
        assert!(peak_memory_mib().is_some_and(|mib| (1.0..1e6).contains(&mib)));
    }
}
