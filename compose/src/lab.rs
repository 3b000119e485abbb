//! A container without Docker: the program of a service, started with what the compose file gives its container.
//!
//! Each service has a network namespace with an address, and a mount namespace whose root is this machine's, read-only, with the
//! service's secrets, configs, volumes and tmpfs mounted where the file says. It runs as the file's user, with no capability
//! that the file does not add, no way to gain one, and exactly the file's environment. What is not imitated: the images, the
//! limits, and that the network `data` has no way out.

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    shell::{Answer, answer, command, eventually, root, tools},
    stack::{Service, Stack},
};

/// What stands in for a service's image: programs of this machine.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// The entry point, unless the compose file has one.
    pub entrypoint: Vec<String>,
    /// The command, unless the compose file has one.
    pub command: Vec<String>,
    /// The name of the service's user, where the image has an account for it.
    pub account: Option<String>,
    /// Directories of programs before the system's.
    pub path: Vec<String>,
    /// Variables that the image sets.
    pub environment: Vec<(String, String)>,
    /// Where it starts.
    pub workdir: String,
    /// Files and directories of this machine, and where the image has them.
    pub files: Vec<(PathBuf, String)>,
    /// Directories that the image has with its user as owner: a new volume takes that over.
    pub owned: Vec<String>,
}

/// The running services.
#[derive(Debug)]
pub struct Lab {
    directory: TempDir,
    stack: Stack,
    holder: Child,
    /// The first process of the lab's namespaces.
    inside: u32,
    operator_key: String,
    running: Vec<(String, Child)>,
}

/// Where a service without a fixed address gets one.
const FIRST_ADDRESS: u8 = 129;

/// A service that is none: it stands for other machines.
pub const VISITOR: &str = "visitor";

impl Lab {
    /// Makes the networks and the secrets.
    ///
    /// # Panics
    ///
    /// With what is missing. It makes namespaces with the users of the containers: ask [`shell::may_run_services`](crate::shell::may_run_services) first.
    pub fn open(stack: Stack) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let secrets = directory.path().join("secrets");
        let said = answer(command("compose/secrets.sh").arg(&secrets));
        let operator_key = said.good("compose/secrets.sh").trim().to_owned();

        let hosts: Vec<(String, String)> = addresses(&stack);
        let lines: Vec<String> = hosts
            .iter()
            .map(|(name, address)| format!("{address} {name}"))
            .collect();
        fs::write(
            directory.path().join("hosts"),
            format!("127.0.0.1 localhost\n{}\n", lines.join("\n")),
        )
        .expect("hosts");

        let subnet = stack.at("/networks/edge/ipam/config/0/subnet");
        let bits = subnet.as_str().and_then(|subnet| subnet.split_once('/'));
        let (_, bits) = bits.expect("the network has a subnet");
        let mut holder = command("unshare");
        holder
            .args([
                "--mount",
                "--net",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .arg("compose/tests/lab/network.sh")
            .arg(bits)
            .args(
                hosts
                    .iter()
                    .map(|(name, address)| format!("{name}={address}")),
            )
            .stdout(log(&directory, "network"))
            .stderr(log(&directory, "network"));
        let holder = holder.spawn().expect("unshare starts");
        let outer = holder.id();
        let inside = eventually("the network of the lab", || {
            let said = read(&directory, "network");
            let children = format!("/proc/{outer}/task/{outer}/children");
            let child = fs::read_to_string(children).unwrap_or_default();
            match child.split_whitespace().next() {
                Some(child) if said.contains("ready") => Ok(child.parse().expect("a process id")),
                _ => Err(said),
            }
        });
        Self {
            directory,
            stack,
            holder,
            inside,
            operator_key,
            running: Vec::new(),
        }
    }

    /// The value of a secret of the stack.
    ///
    /// # Panics
    ///
    /// When there is none of this name.
    pub fn secret(&self, name: &str) -> String {
        let text = fs::read_to_string(self.directory.path().join("secrets").join(name));
        text.expect("the secret is there").trim().to_owned()
    }

    /// The operator's key, which was shown once.
    pub fn operator_key(&self) -> &str {
        &self.operator_key
    }

    /// Starts a service.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start(&mut self, name: &str, image: &Image) {
        let child = self
            .container(name, image)
            .stdout(log(&self.directory, name))
            .stderr(log(&self.directory, name))
            .spawn()
            .expect("nsenter starts");
        self.running.push((name.to_owned(), child));
    }

    /// Runs a service that does one thing and ends.
    pub fn job(&self, name: &str, image: &Image) -> Answer {
        answer(&mut self.container(name, image))
    }

    /// Runs a command in the container of a service that runs, with its user and environment.
    pub fn exec(&self, name: &str, words: &[&str]) -> Answer {
        let entered = self.place(name).join("enter.sh");
        answer(self.enter().arg("bash").arg(entered).args(words))
    }

    /// Runs a command at the address of another machine.
    pub fn visit(&self, words: &[&str]) -> Answer {
        let place = [
            "ip", "netns", "exec", VISITOR, "unshare", "--mount", "bash", "-c",
        ];
        let with_names = format!(
            "mount --bind {}/hosts /etc/hosts && exec \"$@\"",
            self.directory.path().display()
        );
        answer(
            self.enter()
                .args(place)
                .arg(with_names)
                .arg("visit")
                .args(words),
        )
    }

    /// Waits until the health check of a service says that it is well.
    ///
    /// # Panics
    ///
    /// When it does not, with the service's log.
    pub fn healthy(&self, name: &str) {
        let test = self.stack.service(name).words("/healthcheck/test");
        let words: Vec<&str> = match test.as_slice() {
            ["CMD", words @ ..] => words.to_vec(),
            ["CMD-SHELL", line] => vec!["/bin/sh", "-c", line],
            other => panic!("{name}: {other:?}"),
        };
        eventually(&format!("{name} is healthy"), || {
            let said = self.exec(name, &words);
            if said.success {
                return Ok(());
            }
            Err(format!("{}\n{}", said.err, self.log(name)))
        });
    }

    /// What a service has printed.
    pub fn log(&self, name: &str) -> String {
        read(&self.directory, name)
    }

    /// Stops a service as Docker does, and waits until it has ended; whether it ended well.
    ///
    /// # Panics
    ///
    /// When it does not run, or does not end.
    pub fn stop(&mut self, name: &str) -> bool {
        let running = self.running.iter().position(|(running, _)| running == name);
        let (_, mut child) = self.running.remove(running.expect("it runs"));
        let pid = fs::read_to_string(self.place(name).join("pid")).expect("it has started");
        answer(self.enter().args(["kill", "-TERM", pid.trim()])).good("kill");
        eventually(&format!("{name} ends"), || match child.try_wait() {
            Ok(Some(status)) => Ok(status.success()),
            other => Err(format!("{other:?}")),
        })
    }

    /// Everything that all processes of the lab have as arguments.
    ///
    /// # Panics
    ///
    /// When they cannot be listed.
    pub fn arguments(&self) -> String {
        let all = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '";
        answer(self.enter().args(["bash", "-c", all])).good("the process list")
    }

    fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A command inside the lab's namespaces, on its machine.
    fn enter(&self) -> Command {
        let mut enter = command("nsenter");
        enter.arg("--target").arg(self.inside.to_string());
        enter.args(["--mount", "--net", "--pid", "--"]);
        enter
    }

    fn container(&self, name: &str, image: &Image) -> Command {
        let service = self.stack.service(name);
        let place = self.place(name);
        fs::create_dir_all(&place).expect("a directory");
        let script = Script {
            lab: self,
            service,
            image,
        };
        fs::write(place.join("run.sh"), script.run()).expect("a script");
        fs::write(place.join("enter.sh"), script.enter()).expect("a script");
        let mut start = self.enter();
        start.args(["ip", "netns", "exec", name, "unshare", "--mount", "bash"]);
        start.arg(place.join("run.sh"));
        start
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // With it goes the first process of the namespaces, and with that all others.
        drop(self.holder.kill());
        drop(self.holder.wait());
        for (_, child) in &mut self.running {
            drop(child.wait());
        }
    }
}

/// The addresses of all services: the fixed ones as they are, the others out of the range that Docker gives them from.
fn addresses(stack: &Stack) -> Vec<(String, String)> {
    let range = stack.at("/networks/edge/ipam/config/0/ip_range");
    let range = range.as_str().expect("the network has a range");
    let (prefix, _) = range.rsplit_once('.').expect("an address");
    let names = stack.services();
    let names = names
        .iter()
        .map(|service| (service.name, service.text("/networks/edge/ipv4_address")));
    let mut next = FIRST_ADDRESS;
    names
        .chain([(VISITOR, "")])
        .map(|(name, fixed)| {
            if !fixed.is_empty() {
                return (name.to_owned(), fixed.to_owned());
            }
            next += 1;
            (name.to_owned(), format!("{prefix}.{next}"))
        })
        .collect()
}

fn log(directory: &TempDir, name: &str) -> Stdio {
    let path = directory.path().join(format!("{name}.log"));
    let file = fs::OpenOptions::new().create(true).append(true).open(path);
    file.expect("a log").into()
}

fn read(directory: &TempDir, name: &str) -> String {
    fs::read_to_string(directory.path().join(format!("{name}.log"))).unwrap_or_default()
}

/// The scripts that make a container, and enter it.
struct Script<'a> {
    lab: &'a Lab,
    service: Service<'a>,
    image: &'a Image,
}

/// Something that is mounted.
struct Mount {
    /// For `mount`.
    options: String,
    target: String,
    is_file: bool,
}

impl Script<'_> {
    fn run(&self) -> String {
        let place = self.lab.place(self.service.name);
        let place = place.display();
        let mut script = format!(
            "set -euo pipefail\nlayer={place}/layer root={place}/root\nmkdir -p $layer $root\nmount -t tmpfs tmpfs $layer\n\
             mkdir -p $layer/proc $layer/dev $layer/etc\ncp {}/hosts $layer/etc/hosts\n",
            self.lab.directory.path().display()
        );
        if let Some(account) = &self.image.account {
            let (user, group) = self.service.user();
            let line = format!("{account}:x:{user}:{group}::/:/bin/sh");
            writeln!(script, "echo {} >$layer/etc/passwd", quoted(&line)).expect("a string");
        }
        let mounts = self.mounts();
        // Where something is mounted there has to be something, and the root cannot be written.
        for Mount {
            target, is_file, ..
        } in &mounts
        {
            let target = quoted(target);
            let line = if *is_file {
                format!("mkdir -p $(dirname $layer{target}); touch $layer{target}")
            } else {
                format!("mkdir -p $layer{target}")
            };
            writeln!(script, "{line}").expect("a string");
        }
        script += "mount -t overlay overlay -o lowerdir=$layer:/ $root\n\
                   mount --rbind /dev $root/dev\nmount --bind /proc $root/proc\n";
        for mount in &mounts {
            writeln!(
                script,
                "mount {} $root{}",
                mount.options,
                quoted(&mount.target)
            )
            .expect("a string");
        }
        writeln!(script, "echo $$ >{place}/pid").expect("a string");
        let words: Vec<String> = self.words();
        writeln!(
            script,
            "exec chroot $root {} {}",
            self.inside(),
            list(&words)
        )
        .expect("a string");
        script
    }

    fn enter(&self) -> String {
        let pid = self.lab.place(self.service.name).join("pid");
        format!(
            "set -euo pipefail\nexec nsenter --target $(cat {}) --mount --net --root -- {} \"$@\"\n",
            pid.display(),
            self.inside()
        )
    }

    /// What becomes of a process before the program begins: user, rights, environment, directory.
    fn inside(&self) -> String {
        let (user, group) = self.service.user();
        let added: Vec<String> = self
            .service
            .words("/cap_add")
            .iter()
            .map(|one| format!(",+{}", one.to_lowercase()))
            .collect();
        let added = added.concat();
        let workdir = if self.image.workdir.is_empty() {
            "/"
        } else {
            &self.image.workdir
        };
        let path = self.image.path.iter().map(String::as_str);
        let path: Vec<&str> = path
            .chain(["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin"])
            .collect();
        let variables = std::iter::once(("PATH".to_owned(), path.join(":")))
            .chain(self.image.environment.iter().cloned())
            .chain(self.service.environment());
        let variables: Vec<String> = variables
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!(
            "/usr/bin/setpriv --reuid {user} --regid {group} --clear-groups --inh-caps=-all --bounding-set=-all{added} \
             --no-new-privs -- /usr/bin/env --ignore-environment --chdir={} {}",
            quoted(workdir),
            list(&variables)
        )
    }

    fn words(&self) -> Vec<String> {
        let own = |pointer: &str, image: &[String]| {
            let stated = self.service.words(pointer);
            if self.service.at(pointer).is_array() {
                stated.into_iter().map(str::to_owned).collect()
            } else {
                image.to_vec()
            }
        };
        let mut words = own("/entrypoint", &self.image.entrypoint);
        words.extend(own("/command", &self.image.command));
        words
    }

    fn mounts(&self) -> Vec<Mount> {
        let lab = self.lab.directory.path();
        let mut mounts = Vec::new();
        let mut bind = |source: PathBuf, target: &str| {
            mounts.push(Mount {
                options: format!("--bind {}", quoted(&source.to_string_lossy())),
                target: target.to_owned(),
                is_file: source.is_file(),
            });
        };
        for (source, target) in &self.image.files {
            bind(source.clone(), target);
        }
        bind(tools(), "/opt/tools");
        for secret in self.service.list("/secrets") {
            let source = secret["source"].as_str().unwrap_or_default();
            bind(
                lab.join("secrets").join(source),
                secret["target"].as_str().unwrap_or_default(),
            );
        }
        for config in self.service.list("/configs") {
            let source = config["source"].as_str().unwrap_or_default();
            let file = self.lab.stack.at(&format!("/configs/{source}/file"));
            bind(
                PathBuf::from(file.as_str().unwrap_or_default()),
                config["target"].as_str().unwrap_or_default(),
            );
        }
        // The deeper ones later, as Docker does.
        let mut volumes = self.service.list("/volumes");
        volumes.sort_by_key(|volume| volume["target"].as_str().map(str::len));
        for volume in volumes {
            let target = volume["target"].as_str().unwrap_or_default();
            bind(self.volume(volume, target), target);
        }
        for tmpfs in self.service.words("/tmpfs") {
            let (target, options) = tmpfs.split_once(':').unwrap_or((tmpfs, ""));
            mounts.push(Mount {
                options: format!("-t tmpfs -o {options} tmpfs"),
                target: target.to_owned(),
                is_file: false,
            });
        }
        mounts
    }

    /// The directory of a volume: a new one belongs to root, unless the image has it with another owner.
    fn volume(&self, volume: &Value, target: &str) -> PathBuf {
        let name = volume["source"].as_str().unwrap_or_default();
        let directory = self.lab.directory.path().join("volumes").join(name);
        if !directory.exists() {
            fs::create_dir_all(&directory).expect("a directory");
            if self.image.owned.iter().any(|owned| owned == target) {
                let (user, group) = self.service.user();
                let owner = format!("{user}:{group}");
                answer(command("chown").arg(owner).arg(&directory)).good("chown");
                answer(command("chmod").arg("0700").arg(&directory)).good("chmod");
            }
            // Where a deeper volume is mounted.
            if let Some(deeper) = self.deeper(target) {
                fs::create_dir_all(directory.join(deeper)).expect("a directory");
            }
        }
        directory
    }

    fn deeper(&self, target: &str) -> Option<String> {
        let volumes = self.service.list("/volumes");
        let targets = volumes
            .into_iter()
            .filter_map(|volume| volume["target"].as_str());
        let mut below = targets.filter_map(|other| other.strip_prefix(target)?.strip_prefix('/'));
        below.next().map(str::to_owned)
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

/// A file below `compose/tests/lab`.
pub fn stand_in(name: &str) -> PathBuf {
    root().join("compose/tests/lab").join(name)
}
