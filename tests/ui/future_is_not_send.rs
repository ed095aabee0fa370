//~ held_across_the_wait
//~ redrive::run
use std::rc::Rc;

async fn place(_: redrive::Body) {
    let held_across_the_wait = Rc::new(7);
    tokio::task::yield_now().await;
    drop(held_across_the_wait);
}

#[tokio::main]
async fn main() -> Result<(), redrive::Error> {
    redrive::run(place).await
}
