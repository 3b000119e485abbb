//! A plugin in a process of its own beside the same one in the host's: over loopback TCP, both processes of the server on one core
//! and the callers on the other.

use nself::postgres::scratch::Scratch;

use crate::{
    Result,
    child::{Log, Served},
    cpu,
    project::Project,
    report::Report,
    tcp::{Both, echoes, messages},
};

const SETTINGS: &str =
    "[database]\nplugin_pool_max = 2\n[plugins.bench01]\nisolation = \"process\"\n";

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    cpu::pin(None, 1)?;
    let database = Scratch::shared().database().await;
    let project = Project::with(SETTINGS)?;
    let ids = [project.put(0, 0)?, project.put(1, 0)?];
    let ids = [&*ids[0], &*ids[1]];
    let served = Served::start(project.path(), &database.url(), Log::Off, &ids).await?;
    let gateway = served.gateway;
    let both = echoes(&served, gateway, ["/bench00/echo", "/bench01/echo"]).await?;
    tell(report, "echo 1 KiB", &both);
    let both = messages(&served, gateway, ["/bench00/socket", "/bench01/socket"]).await?;
    tell(report, "websocket echo 64 bytes", &both);
    let family = cpu::family(served.pid()?);
    if let [_, process] = family[..] {
        let resident = cpu::resident_kib(process)?;
        let name = "memory of a plugin's process, after that";
        report.text(name, format!("{resident} KiB"), "");
    }
    Ok(())
}

fn tell(report: &mut Report, what: &str, both: &Both) {
    let micros = both.cpu.native().median * 1e6;
    let more = both.cpu.difference().median * 1e6;
    let name = format!(
        "{what} in a process of its own: CPU ({micros:.1} µs in the host's, {more:.1} µs more)"
    );
    report.spread(&name, both.cpu.ratio(), "x", "");
    let name = format!("{what} in a process of its own: a second");
    report.spread(&name, both.time.ratio(), "x", "");
}
