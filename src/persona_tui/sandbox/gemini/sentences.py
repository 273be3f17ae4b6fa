"""Light, lenses, clothes and moods of a picture, and the sentences around it."""

from __future__ import annotations

LIGHTS = (
    ("first light", "first light from the left, long soft shadows"),
    ("window light", "even window light on one side of the face"),
    ("noon shade", "open shade at noon, pale and even"),
    ("late sun", "late sun low behind the shoulder, warm rim"),
    ("blue hour", "blue hour, one warm lamp in the background"),
    ("lamp light", "a single lamp, deep shadows, warm skin tones"),
    ("rain light", "overcast after rain, reflections, muted colour"),
    ("thin fog", "thin fog, low contrast, soft edges"),
)
LENSES = (
    "35 mm lens, f/2, a step back",
    "50 mm lens, f/1.8, eye level",
    "85 mm lens, f/2.2, quiet background",
    "28 mm lens, f/4, the whole room in the frame",
    "40 mm lens, f/2.8, slight grain like Portra 400",
)
CLOTHES = (
    "a washed linen shirt and an apron",
    "a navy wool jumper with one pulled thread",
    "a grey work jacket over a white shirt",
    "a long dark coat",
    "wide trousers and a ribbed cotton top",
    "a corduroy overshirt the colour of rust",
    "a plain white shirt with rolled sleeves",
    "a knitted cardigan in oatmeal",
)
DETAILS = (
    "a jacket over the back of a chair",
    "a window left open an inch",
    "a cup within reach",
    "one thing out of its place",
    "a key ring on the sill",
    "a pencil behind the ear",
)
MOODS = (
    "unhurried, as if nobody were looking",
    "concentrated, a small frown",
    "amused at something outside the frame",
    "a little tired and content",
    "caught between two thoughts",
    "quietly proud",
)
PURPOSES = (
    "A calm frame between two busier ones.",
    "Good for the middle of the week.",
    "Leaves room at the top for nothing at all.",
    "Shows the work rather than the result.",
    "Easy to vary: three angles would do.",
    "Pairs well with anything blue in the grid.",
    "A picture for those who read to the end.",
    "The hands tell it; the face may be turned away.",
)
OPENERS = (
    "{scene}, and nobody needed anything for an hour.",
    "Came for {detail}, stayed for the light.",
    "This is what {pillar} looks like when no one is keeping score.",
    "Some days are all {scene_lower} and not much else.",
    "Small report, {place}.",
    "The plan was ten minutes. It became {scene_lower}.",
    "Nothing happened here, which was the point.",
    "Halfway through, the {light} moved across the wall and I stopped to watch it.",
    "Kept this one because of {detail}.",
    "There is a version of this day without {scene_lower}. It is worse.",
    "Notes on {scene_lower}: go slowly, then slower.",
    "Quiet corner, {light}, {detail}.",
)
MIDDLES = (
    "I like the part before it is finished best, when it could still be anything.",
    "{Detail}. That was the whole picture, really.",
    "You can hear the street from here, but only if you try.",
    "The radio said rain. The radio was early.",
    "I have done this a hundred times and it has never once looked the same.",
    "Somebody asked whether it takes long. It takes exactly as long as it takes.",
    "Most of it is waiting, and the waiting turns out to be the good part.",
    "My list for the day had nine lines. This was not one of them.",
    "The {light} did most of the work.",
    "It smelled of coffee and wet wool.",
    "For a while the only sound was the clock in the next room, which is wrong by six minutes.",
    "I moved one thing, moved it back, and called it done.",
    "The trick is to begin before you feel ready, and to stop a little early.",
    "There were two mistakes in it. I am keeping both.",
    "Everything I needed fitted on one small table.",
    "I thought about calling someone and then looked out of the window instead.",
    "It was colder than it looks.",
    "By four o'clock the shadows had reached the door.",
    "I keep learning the same thing: fewer, and with more care.",
    "A neighbour waved. I waved with the wrong hand, the other one was busy.",
)
CLOSERS = (
    "Same time tomorrow.",
    "More of this, please.",
    "That was Tuesday.",
    "What did your quiet hour look like?",
    "I would do it again for {detail} alone.",
    "Then the kettle, then the rest of the day.",
    "Which corner of your week looks like this?",
    "Leaving it here so that I remember.",
    "Done by noon, mostly.",
    "The rest can wait.",
    "If you know, you know the smell.",
    "Filed under {pillar}.",
)
EMOJI = ("☕", "🌿", "🍂", "☁️", "🕯️", "🌤️", "📖", "🫖")
