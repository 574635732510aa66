"""More of what is asked that no sound tells, and of what has nothing to do with sound, to learn to tell them apart from
what can be heard. For training alone; written by the hand that wrote the voices of training.
"""

from __future__ import annotations

CANNOT_BE_HEARD: tuple[str, ...] = (
    "What colour is {the}?", "Is {the} painted green?", "What shade is {the}, dark or bright?", "Is {the} black?",
    "Does {the} have stripes?", "Is {the} shiny?", "Which colour would you give {the}?", "Is {the} yellow or white?",
    "Is the wall behind {the} blue?", "Is it light or dark in this room?", "Are the lights on?", "Is the sun shining?",
    "How bright is it in here?", "Does {the} stink?", "Is there a smell of smoke from {the}?", "What does {the} taste of?",
    "Does it smell nice where {the} is?", "Is {the} edible?", "Would {the} taste sweet?", "How does it smell near {the}?",
    "Do you smell something burning?", "Is {the} hot to the touch?", "How warm is {the}?", "What temperature is it here?",
    "Is {the} wet?", "Is it cold outside?", "Is {the} soft or hard?", "What's the time now?", "What year is it?",
    "Is it Monday?", "What's today's date?", "When did {the} start?", "Since when is {the} there?",
    "How long ago did {the} arrive?", "Was {the} here yesterday?", "Will {the} be here tomorrow?", "When will {the} stop?",
    "How many minutes until noon?", "What's {the} called?", "Who owns {the}?",
    "What's the name of whoever is next to {the}?", "How old is {the}?", "What's my name?", "Whose is {the}?",
    "Which company made {the}?", "What brand is {the}?", "Where was {the} built?", "Which model is {the}?",
    "Does {the} belong to my neighbour?", "How big is {the}?", "How heavy is {the}?", "How tall is {the}?",
    "What's {the} made of?", "Is {the} pretty?", "Is {the} ugly?", "What does {the} want?", "Is {the} friendly?",
    "What is {the} thinking?", "Is {the} hungry?", "How much is {the} worth?", "What did {the} cost?",
    "Is {the} expensive?", "Is {the} new or old?", "Is {the} broken?", "Does {the} have four legs?", "Is {the} happy?",
    "What is {the} wearing?", "How many legs has {the}?", "What does it look like around {the}?", "Is {the} clean?",
    "Is {the} male or female?", "Why is {the} here?", "Who brought {the} here?", "Is anybody looking at me?",
    "How fast can {the} go?", "How many people are silent in here?", "Is there a window behind {the}?",
    "What's written on {the}?", "Which floor are we on?", "What's the address of this place?", "Is the door open?",
    "Is there a picture on the wall?", "What shape is {the}?", "How wide is {the}?", "Does {the} like me?",
    "{n} colour?", "{n}: weight?", "{n} age", "{n} brand", "smell here?", "current time", "price of {n}",
)  # fmt: skip
NOT_ABOUT_SOUND: tuple[str, ...] = (
    "What's the capital of Norway?", "Who is the president of Brazil?", "What is twelve plus thirty?", "How are you?",
    "How do I bake bread?", "Write a poem about autumn.", "Translate good morning into Italian.", "What's your name?",
    "Who made you?", "Recommend me a book.", "How do I tie a tie?", "What's the square root of 81?", "Sing me a song.",
    "When did the Second World War end?", "Who painted the Mona Lisa?", "How tall is Mount Everest?", "Set an alarm.",
    "What's the weather going to be tomorrow?", "Will it snow this weekend?", "Order me a pizza.", "Call my mother.",
    "What should I wear to a wedding?", "How do I fix my printer?", "Can you drive?", "Are you a robot?", "Do you dream?",
    "What's the best phone to buy?", "How many planets are there?", "Who won the world cup?", "Play some jazz.",
    "What does photosynthesis mean?", "How do you spell necessary?", "Which bus goes to the station?", "Buy some milk.",
    "How much is a ticket to London?", "What's on television tonight?", "Turn off the lights.", "Open the window.",
    "What's the meaning of life?", "Should I change my job?", "How do I lose weight?", "Is the shop still open?",
    "What's the fastest animal?", "How old is the universe?", "Give me a recipe for soup.", "Book a table for two.",
    "Remind me to water the plants.", "What's the exchange rate of the dollar?", "Do I need an umbrella tomorrow?",
    "How do I learn the guitar?", "Tell me a story about a dragon.", "What is the boiling point of water?",
    "Which language is spoken in Austria?", "Who discovered America?", "How many days has February?", "Flip a coin.",
    "Summarise the news for me.", "What's 15 percent of 200?", "Where is my passport?", "Have you seen my keys?",
    "Where did I park?", "What's for dinner?", "Which way is the airport?", "How far is it to Paris?", "Is God real?",
    "How far is the moon?", "Where is Berlin?", "What's the distance from Earth to Mars?", "Who is your favourite actor?",
    "Is coffee healthy?", "Do cats have nine lives?", "Why do dogs chase cars?", "How does a siren work?",
    "What do helicopters cost to rent?", "Who invented the telephone?", "How long do crickets live?", "Good bye.",
    "Which is the biggest dog breed?", "How do I train a puppy?", "Thanks, that's all.", "I love you.", "Never mind.",
    "What's the plural of mouse?", "stock prices", "define entropy", "7 * 8", "time zones", "pizza near me", "football",
    "Explain gravity.", "Send an email to Anna.", "What's your opinion on politics?", "Can I trust you?", "Who are you?",
    "How much memory do you have?", "What languages can you speak?", "Is it a good idea to invest in gold?",
    "What rhymes with orange?", "How many calories are in an apple?", "Help me with my homework.", "Am I pretty?",
)  # fmt: skip
STRANGERS: tuple[str, ...] = (
    "zebra", "submarine", "tiger", "unicorn", "walrus", "penguin", "giraffe", "robot", "lawyer", "yacht", "canoe",
    "typewriter", "juicer", "escalator", "vending machine", "coffee machine", "lighthouse", "windmill", "skateboard",
    "shopping cart", "wheelchair", "stapler", "projector", "photocopier", "oboe", "bassoon", "tuba", "lute", "yodeller",
    "camel", "llama", "kangaroo", "crocodile", "hippo", "peacock", "flamingo", "squirrel", "hamster", "rabbit", "beaver",
    "moose", "ostrich", "panda", "gorilla", "rhino", "jellyfish", "octopus", "tortoise", "lizard", "scorpion", "dragon",
    "ghost", "vampire", "pirate", "wizard", "volcano", "avalanche", "earthquake", "hovercraft", "zeppelin", "glider",
    "bulldozer", "forklift", "excavator", "cement mixer", "snowplough", "golf cart", "scooter", "tricycle", "rickshaw",
    "pinball machine", "jukebox", "slot machine", "dentist", "wrestler", "cash machine", "drone", "laser", "satellite",
    "boomerang", "popcorn machine", "ice cream van", "milk float", "steam engine", "cable car", "roller coaster",
    "fridge", "freezer", "toaster", "dehumidifier", "heat pump", "lawn sprinkler", "garden hose", "swing", "seesaw",
)  # fmt: skip
"""Sounds that are no class, nor close to one."""
