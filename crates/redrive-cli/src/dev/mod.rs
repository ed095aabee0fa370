//! `redrive dev`: runs a template's queues, mappings and functions on this machine.

mod build;
mod cargo;
mod demo;
mod elsewhere;
mod output;
mod plan;
mod rebuild;
mod screen;
mod show;
mod site;

use std::io::IsTerminal;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_sqs::Client;
use clap::Args;
use redrive_local::Callers;
use redrive_local::plan::{PlannedMapping, make_queues};
use redrive_local::poller::{EventSourceMapping, News, NewsSink};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::demo::Account;
use self::plan::{Plan, PlannedFunction};
use self::rebuild::Watch;
use self::screen::{Screen, Told, error_in};
use self::show::Show;
use self::site::Site;
use super::Done;
use super::function::{
    DEFAULT_CONCURRENCY, DEFAULT_PATIENCE, InvokeUrl, LogLine, Processes, RunningFunction, Settings,
};
use super::input::TemplateArguments;
use super::interrupt::interrupted;

/// Run a template's queues, event source mappings and functions on this machine
///
/// Serves SQS on a socket for every SDK and the AWS CLI, builds the functions, and shows what happens to each message.
/// Ctrl-C waits for running work.
///
/// With --endpoint-url the queues are at another SQS. At an SQS on this machine (moto, LocalStack) missing queues are
/// created. Elsewhere nothing is created or changed: the queues of functions must exist under the template's names.
/// Existing queues are left as they are, and processed messages are deleted from them. Region and credentials are found
/// as by the AWS CLI, from variables, profiles and single sign-on. Functions get the credentials of the start. An SQS
/// on this machine needs none.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    template: TemplateArguments,
    /// The port of SQS; 0 chooses a free one
    #[arg(long, default_value_t = 9324)]
    port: u16,
    /// Also answer requests to this name or address, as containers use it: host.docker.internal (can be repeated).
    /// Loopback names and addresses are always answered
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
    /// Also answer web pages of this origin, such as http://localhost:3000 (can be repeated). No other page is answered
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Allow purging a queue again, and creating a deleted queue again, at once; AWS requires 60 s in between
    #[arg(long)]
    no_cooldown: bool,
    /// Poll the SQS at this URL instead of serving one
    #[arg(long, value_name = "URL", conflicts_with_all = ["port", "allow_host", "allow_origin", "no_cooldown", "demo", "skip_waits", "until_idle"])]
    endpoint_url: Option<String>,
    /// Invoke functions that `cargo lambda watch` serves at this URL, instead of building and running them
    #[arg(long, value_name = "URL")]
    invoke_url: Option<String>,
    /// The number of concurrent invocations that each function behind --invoke-url accepts, as set by `cargo lambda watch
    /// --concurrency`
    ///
    /// No message is received until one of them is free, because it would wait there while its visibility timeout runs.
    #[arg(long, value_name = "COUNT", requires = "invoke_url", default_value_t = DEFAULT_CONCURRENCY)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    invoke_concurrency: u32,
    /// The extra wait after the timeout of a function behind --invoke-url, which may be built first
    ///
    /// Its messages stay hidden meanwhile. After that the batch counts as failed. The invocation is not cancelled, and
    /// may run later.
    #[arg(long, value_name = "SECONDS", requires = "invoke_url", default_value_t = DEFAULT_PATIENCE.as_secs())]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=43_200))]
    invoke_patience: u64,
    /// Keep functions when their sources change, instead of rebuilding and restarting them
    #[arg(long)]
    no_watch: bool,
    /// Send a mixed load to the first queue, and end with a summary: status 0 if every message is accounted for
    #[arg(long)]
    demo: bool,
    /// Advance the queues' clock whenever nothing runs, so that visibility timeouts pass at once
    #[arg(long)]
    skip_waits: bool,
    /// End when no queue with a function has a message left
    #[arg(long)]
    until_idle: bool,
    /// Write a JSON object a line, for programs
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Returns the callers that the served SQS accepts.
    fn callers(&self) -> Result<Callers, String> {
        let callers = self.allow_host.iter().try_fold(Callers::new(), |callers, host| callers.allow_host(host));
        let callers = callers.map_err(|error| format!("--allow-host: {error}"))?;
        let callers = self.allow_origin.iter().try_fold(callers, |callers, origin| callers.allow_origin(origin));
        callers.map_err(|error| format!("--allow-origin: {error}"))
    }
}

/// How long functions may take to finish at the end.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// How many failed starts of a function in a row end a run that would end by itself. They take about 15 s.
const MAX_ATTEMPTS: u32 = 8;
/// How often to check whether all queues are idle.
const TICK: Duration = Duration::from_millis(5);

pub(super) fn run(arguments: &Arguments) -> Result<Done, String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(dev(arguments))
}

async fn dev(arguments: &Arguments) -> Result<Done, String> {
    let mut site = match &arguments.endpoint_url {
        Some(url) => Site::elsewhere(url).await?,
        None => Site::here(arguments.port, arguments.template.region(), arguments.callers()?).await?,
    };
    if let (Site::Here { sqs, .. }, true) = (&site, arguments.no_cooldown) {
        sqs.settle_at_once();
    }
    let screen = Arc::new(Screen::new(arguments.json, std::io::stdout().is_terminal()));
    let plan = with_queues(arguments, &site, &screen).await?;
    let client = site.client();
    let (stop, stopped) = watch::channel(false);
    let server = site.serve(until(stopped.clone()));

    let account = Arc::new(Account::default());
    // A demo ends by itself, and functions behind --invoke-url are built elsewhere.
    let is_built_here = arguments.invoke_url.is_none() && !plan.functions.is_empty();
    let watches = is_built_here && !arguments.no_watch && !arguments.demo;
    let started = async {
        let watch = if watches { Some(Watch::begin(&plan.functions, &plan.file).await) } else { None };
        start_functions(arguments, &plan, &site, &screen, &account).await.map(|functions| (watch, functions))
    };
    // One future serves both waits, so that a signal between them is not lost.
    let mut interrupt = pin!(interrupted());
    let (watch, functions) = tokio::select! {
        started = started => started?,
        signal = &mut interrupt => return Err(format!("{signal}: ended before the functions had started")),
    };
    let settled = Arc::new(AtomicU64::new(0));
    let (show, shower) = Show::start(screen.clone(), account.clone());
    site.watch(show.clone(), account.clone());
    // The demo is expected before anything is received, so that no outcome is missed.
    let first = plan.mappings.first().map(|mapping| mapping.queue_url.clone());
    match first.filter(|_| arguments.demo) {
        Some(queue_url) => account.expect(&demo::send(&client, &queue_url).await?),
        None if arguments.demo => return Err("the template has no mapping of a queue to a function to show".to_owned()),
        None => {}
    }
    let mut mappings = JoinSet::new();
    let (breaks, broken) = watch::channel(None);
    let queues: Vec<_> = plan.mappings.iter().map(|mapping| mapping.queue.clone()).collect();
    for planned in plan.mappings {
        let told = Told {
            queue: planned.queue.clone(),
            function: planned.function.clone(),
            visibility_timeout: planned.visibility_timeout,
        };
        for key in planned.filter.undocumented_keys() {
            screen.say(&format!("{}: a filter names `{key}`; AWS documents only `body` for SQS", told.queue));
        }
        let news = news(told, show.clone(), account.clone(), breaks.clone());
        let mapping = mapping(planned, &client, &functions, &settled, news)?;
        mappings.spawn(mapping.run(until(stopped.clone())));
    }
    let ends_idle = arguments.demo || arguments.until_idle;
    tokio::select! {
        signal = interrupt => screen.say(&format!("{signal}: {}; press again to end now", site.what_ends())),
        () = rest(&site, &queues, &settled, arguments.demo || arguments.skip_waits, ends_idle) => {}
        problem = given_up(broken), if ends_idle => return Err(problem),
        () = rebuild::run(watch, &plan.functions, &functions, &screen) => {}
    }
    // A second interrupt ends all of these waits.
    tokio::select! {
        () = drain(&site, &stop, mappings, &functions) => {}
        _ = interrupted() => return Err("ended before running work had finished".to_owned()),
    }
    // A client that keeps its connection open must not delay the end.
    if let Some(server) = server {
        server.abort();
    }
    drop(show);
    site.end_watch();
    shower.end().await;
    Ok(Done { output: String::new(), is_good: !arguments.demo || summary(&screen, &account) })
}

/// Returns the parts of the template to run, with the actual queues.
async fn with_queues(arguments: &Arguments, site: &Site, screen: &Screen) -> Result<Plan, String> {
    let read = |account: Option<&str>| {
        let template = arguments.template.read_with(account, site.region(), site.url())?;
        let parent = Path::new(&template.file).parent().filter(|parent| *parent != Path::new(""));
        Plan::of(&template, parent.unwrap_or(Path::new(".")), arguments.invoke_url.is_none())
    };
    let mut plan = read(None)?;
    match site {
        Site::Here { sqs, .. } => make_queues(&sqs.client(), &plan.queues).await?,
        Site::Elsewhere(there) => {
            let queues = elsewhere::find_or_make(there, &plan).await?;
            plan = read(queues.account())?;
            queues.connect(there, &plan).await?;
            queues.put_into(&mut plan)?;
            queues.show(screen);
        }
    }
    site.show(screen, &plan);
    plan.left_out.iter().for_each(|left_out| screen.left_out(left_out));
    Ok(plan)
}

/// Builds the functions one after the other, and starts a process of each to check that it works.
async fn start_functions(
    arguments: &Arguments,
    plan: &Plan,
    site: &Site,
    screen: &Arc<Screen>,
    account: &Arc<Account>,
) -> Result<Vec<(String, RunningFunction)>, String> {
    let mut functions = Vec::new();
    for planned in &plan.functions {
        let function = match &arguments.invoke_url {
            Some(url) => served_elsewhere(url, planned, arguments)?,
            None => in_processes(planned, site, screen, account).await?,
        };
        function.check().await.map_err(|error| format!("the function {}: {error}", planned.name))?;
        functions.push((planned.name.clone(), function));
    }
    Ok(functions)
}

fn served_elsewhere(url: &str, planned: &PlannedFunction, arguments: &Arguments) -> Result<RunningFunction, String> {
    let binary = planned.binary.as_deref().unwrap_or("_");
    let function = InvokeUrl::new(url, binary, arguments.invoke_concurrency).map_err(|error| error.to_string())?;
    let function = function.with_patience(Duration::from_secs(arguments.invoke_patience));
    Ok(RunningFunction::AtUrl(Arc::new(function)))
}

async fn in_processes(
    planned: &PlannedFunction,
    site: &Site,
    screen: &Arc<Screen>,
    account: &Arc<Account>,
) -> Result<RunningFunction, String> {
    screen.say(&format!("building {}", planned.name));
    let executable = build::build(planned).await?;
    let settings = Settings {
        name: planned.name.clone(),
        region: site.region().to_owned(),
        memory_mb: planned.memory_mb,
        variables: planned.variables.clone(),
        overrides: site.variables(),
    };
    let (screen, account) = (screen.clone(), account.clone());
    let sink = Arc::new(move |line: LogLine| {
        if let Some((message_id, error)) = error_in(&line.line) {
            account.failed(message_id, error);
        }
        screen.log(line);
    });
    let processes = Processes::new(planned.program(executable), settings, planned.concurrency, sink);
    Ok(RunningFunction::InProcesses(Arc::new(processes)))
}

fn news(told: Told, show: Show, account: Arc<Account>, breaks: watch::Sender<Option<String>>) -> NewsSink {
    let told = Arc::new(told);
    Arc::new(move |news| {
        if let News::NotReady { error, attempts: MAX_ATTEMPTS.. } = &news {
            breaks
                .send_replace(Some(format!("the function {}: {error}; its messages stay in the queue", told.function)));
        }
        account.hear(&news);
        show.news(&told, news);
    })
}

fn mapping(
    planned: PlannedMapping,
    client: &Client,
    functions: &[(String, RunningFunction)],
    settled: &Arc<AtomicU64>,
    news: NewsSink,
) -> Result<EventSourceMapping, String> {
    let function = functions.iter().find(|(name, _)| *name == planned.function);
    let (_, function) = function.ok_or_else(|| format!("there is no function {}", planned.function))?;
    Ok(planned.with(client, function.to_function(), settled, news))
}

/// Resolves with the reason when a function never becomes ready and the run should end.
async fn given_up(mut broken: watch::Receiver<Option<String>>) -> String {
    match broken.wait_for(Option::is_some).await {
        Ok(problem) => problem.clone().unwrap_or_default(),
        // The sender is gone, so no reason can follow.
        Err(_) => std::future::pending().await,
    }
}

/// Resolves at the stop.
async fn until(mut stopped: watch::Receiver<bool>) {
    // An error only means that the sender is gone.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Skips waits if requested, and resolves when the queues are idle if requested. Functions and batching windows use
/// other clocks than the queues, so this checks periodically.
async fn rest(site: &Site, queues: &[String], settled: &AtomicU64, skips: bool, ends_idle: bool) {
    // Another SQS has only approximate counts, and its clock cannot be advanced.
    let Site::Here { sqs, .. } = site else { return std::future::pending().await };
    let mut tick = tokio::time::interval(TICK);
    loop {
        tick.tick().await;
        let settled = settled.load(Ordering::Acquire);
        if ends_idle && queues.iter().all(|queue| sqs.is_empty(queue)) && sqs.rests(queues, settled) {
            return;
        }
        if skips {
            sqs.skip_wait(queues, settled);
        }
    }
}

async fn drain(
    site: &Site,
    stop: &watch::Sender<bool>,
    mut mappings: JoinSet<()>,
    functions: &[(String, RunningFunction)],
) {
    stop.send_replace(true);
    site.end_polls();
    while mappings.join_next().await.is_some() {}
    for (_, function) in functions {
        function.shut_down(DRAIN_LIMIT).await;
    }
}

fn summary(screen: &Screen, account: &Account) -> bool {
    let (text, json, is_good) = account.summary();
    screen.summary(&text, is_good, &json);
    is_good
}
