//~ the handler takes `State<Database>`, but its state is `()`
//~ give it with `redrive::handler(f).with_state(..)`
#[derive(Clone)]
struct Database;

async fn place(_: redrive::State<Database>) {}

#[tokio::main]
async fn main() -> Result<(), redrive::Error> {
    redrive::run(place).await
}
