//~ is not a redrive handler
//~ not an async function of up to eight arguments
use redrive::Body;

#[allow(clippy::too_many_arguments)]
async fn place(_: Body, _: Body, _: Body, _: Body, _: Body, _: Body, _: Body, _: Body, _: Body) {}

#[tokio::main]
async fn main() -> Result<(), redrive::Error> {
    redrive::run(place).await
}
