//! The walls around a plugin's process: no files but the system's libraries and the plugin's own, no network, no other programs, no
//! other processes, no more memory than it was given. What it needs beyond that it asks of the host, over the socket that it has.
//!
//! Files and the network are held by Landlock, as far as the kernel has it, and system calls by a filter (seccomp). Both go on to all
//! threads, and nothing takes them away again.

use std::{collections::BTreeMap, error::Error, path::Path};

use landlock::{
    ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

/// What libraries are read from, and what they read of the machine.
const READABLE: &[&str] = &[
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/dev/null",
    "/dev/urandom",
    "/proc/self",
    "/sys/devices/system/cpu",
];

/// Open files: its socket, its output, and what is open while libraries are loaded.
const FILES: u64 = 64;
/// The newest rules that are asked for.
const NEWEST: ABI = ABI::V6;

type Failure = Box<dyn Error + Send + Sync>;

/// Puts the walls up around this process, which must have one thread. `file` can be read; what is missing of the walls, for people.
pub(super) fn put_up(file: &Path, memory_bytes: u64) -> Result<String, Failure> {
    for (resource, most) in [
        // What it had in memory is nobody's, and a core would show it.
        (Resource::Core, 0),
        (Resource::Data, memory_bytes),
        (Resource::Nofile, FILES),
        (Resource::Fsize, 0),
    ] {
        let before = getrlimit(resource).maximum;
        let most = Some(before.map_or(most, |before| most.min(before)));
        setrlimit(
            resource,
            Rlimit {
                current: most,
                maximum: most,
            },
        )?;
    }
    rustix::thread::set_no_new_privs(true)?;
    let enforced = hold_files(file)?;
    filter_calls()?;
    Ok(match enforced {
        RulesetStatus::FullyEnforced => String::new(),
        RulesetStatus::PartiallyEnforced => "Landlock of an older version".to_owned(),
        RulesetStatus::NotEnforced => "no Landlock: files that this account can read".to_owned(),
    })
}

fn hold_files(file: &Path) -> Result<RulesetStatus, Failure> {
    let readable = READABLE.iter().map(Path::new).chain([file]);
    let rules = path_beneath_rules(readable, AccessFs::from_read(NEWEST));
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(rules)?
        .restrict_self()?;
    Ok(status.ruleset)
}

/// Calls by which a process reaches beyond itself. A list of what is refused, not of what is allowed: what a plugin's libraries
/// call changes with each of them, and what is left reaches nothing, as there is nothing open to reach it through.
const REFUSED: &[libc::c_long] = &[
    // Networks and other sockets.
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    // Other programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_tkill,
    libc::SYS_kcmp,
    libc::SYS_setpriority,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setattr,
    // Shared memory and queues that have names.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
    // Files by other ways than their names.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_io_uring_setup,
    libc::SYS_fanotify_init,
    // The machine.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_quotactl,
    libc::SYS_personality,
];

fn filter_calls() -> Result<(), Failure> {
    let always = Vec::new();
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|call| (*call, always.clone())).collect();
    let this = u64::from(std::process::id());
    let condition =
        |argument, how, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, how, value);
    // It may end itself, and nobody else.
    for call in [
        libc::SYS_kill,
        libc::SYS_tgkill,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
    ] {
        let others = SeccompRule::new(vec![condition(0, SeccompCmpOp::Ne, this)?])?;
        refused.insert(call, vec![others]);
    }
    // Limits of others.
    let others = vec![
        condition(0, SeccompCmpOp::Ne, this)?,
        condition(0, SeccompCmpOp::Ne, 0)?,
    ];
    refused.insert(libc::SYS_prlimit64, vec![SeccompRule::new(others)?]);
    // Threads, but no processes.
    let thread = u64::try_from(libc::CLONE_THREAD)?;
    let process = condition(0, SeccompCmpOp::MaskedEq(thread), 0)?;
    refused.insert(libc::SYS_clone, vec![SeccompRule::new(vec![process])?]);
    apply(refused, libc::EPERM)?;
    // What its flags are stands in memory, where a filter cannot look: without it, the C library uses the call above.
    apply(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        libc::ENOSYS,
    )
}

fn apply(refused: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> Result<(), Failure> {
    let refusal = SeccompAction::Errno(u32::try_from(errno)?);
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(refused, SeccompAction::Allow, refusal, arch)?;
    let program: seccompiler::BpfProgram = filter.try_into()?;
    apply_filter(&program)?;
    Ok(())
}
