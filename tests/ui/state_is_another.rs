//~ the handler takes `State<Cache>`, but its state is `Database`
//~ or implement `redrive::FromRef<Database>` for `Cache`
use redrive::State;

#[derive(Clone)]
struct Database;

#[derive(Clone)]
struct Cache;

async fn place(_: State<Database>, _: State<Cache>) {}

#[tokio::main]
async fn main() -> Result<(), redrive::Error> {
    redrive::handler(place).with_state(Database).run().await
}
