"""The story world in English: a small and a base lexicon."""

from textgym.worlds.story.events import Kind
from textgym.worlds.story.lexicon import Lexicon, Relative

SMALL = Lexicon(
    name="en-small",
    people=[*((n, "m") for n in ("sam", "tom", "ben", "max")), *((n, "f") for n in ("ann", "eve", "liz", "kim"))],
    places=["kitchen", "barn", "cellar", "attic", "market", "garden", "tower", "mill"],
    objects=[(noun, 0) for noun in ("knife", "cup", "lamp", "book", "key", "ring", "drum", "coin")],
    colours=["red", "blue", "green", "black", "white", "yellow", "brown", "grey"],
    templates={
        Kind.IS_IN: ["A was in the L"],
        Kind.COLOUR: ["o was C"],
        Kind.OBJECT_AT: ["O lay in the L"],
        Kind.HAS: ["A had O"],
        Kind.GO: ["A went to the L", "A walked to the L"],
        Kind.TAKE: ["A took O", "A picked O up"],
        Kind.DROP: ["A dropped O", "A put O down"],
        Kind.GIVE: ["A gave O to B"],
        Kind.MEET: ["A met B"],
        Kind.FILLER: ["it was a <adj> <time>", "the wind was <weather>", "nobody said a word"],
        Kind.END: ["the end"],
    },
    noun_phrases=("the o", "the C o"),
    pronouns=("he", "she"),
    connectives=["then", "soon", "later"],
    stop=".",
    comma=",",
    bar="|",
    classes={
        "adj": ["cold", "warm", "quiet", "long"],
        "time": ["day", "night", "morning", "evening"],
        "weather": ["strong", "calm"],
    },
)

_MEN = """
    sam tom ben max jack paul carl leo hugo ivan oscar peter felix simon martin victor walter george henry arthur
    edgar oliver daniel robert thomas albert ernest philip rupert stephen gregory howard nathan samuel theodore wilfred
    conrad duncan lionel marcus
""".split()
_WOMEN = """
    ann eve liz kim mary rosa clara nora emma julia alice helen laura grace irene martha sophie louise agnes vera
    hannah esther ingrid olga dorothy edith florence gertrude harriet isabel josephine lydia matilda miriam pauline
    rebecca sylvia teresa ursula winifred
""".split()
_PLACES = """
    kitchen barn cellar attic market garden tower mill forest harbour chapel library bakery stable workshop orchard
    castle inn school museum theatre cottage meadow cave bridge station prison palace temple quarry shed greenhouse
    bathroom bedroom hallway courtyard churchyard vineyard windmill warehouse factory hospital office tavern brewery
    lighthouse monastery village valley canyon desert swamp park square tunnel tent camp dairy
""".split()
_THINGS = """
    knife cup lamp book key ring drum coin map rope basket mirror hammer bottle candle flute hat letter box crown
    sword shield spoon plate bell violin watch brush pen ladder kettle pillow blanket umbrella lantern compass
    anchor apple arrow axe bag ball banner barrel belt bracelet broom bucket button cage cake chain chair clock
    comb cushion diary doll fan fork necklace
""".split()
_SEVERAL = """
    shoes gloves cards seeds stones nails beads marbles ribbons feathers boots glasses scissors apples eggs flowers
    acorns arrows berries biscuits bricks pearls pebbles plums
""".split()

BASE = Lexicon(
    name="en-base",
    people=[*((name, "m") for name in _MEN), *((name, "f") for name in _WOMEN)],
    places=_PLACES,
    objects=[*((noun, 0) for noun in _THINGS), *((noun, 1) for noun in _SEVERAL)],
    colours=["red", "blue", "green", "black", "white", "yellow", "brown", "grey"],
    templates={
        Kind.IS_IN: ["A was in the L", "A stood in the L", "A waited in the L"],
        Kind.COLOUR: ["o [be] C", "o [be] all C"],
        Kind.OBJECT_AT: ["O [be] in the L", "O [be] left in the L"],
        Kind.HAS: ["A had O", "A carried O", "A held O"],
        Kind.GO: ["A went to the L", "A walked to the L", "A ran to the L", "A left for the L"],
        Kind.TAKE: ["A took O", "A picked O up", "A grabbed O", "A found O"],
        Kind.DROP: ["A dropped O", "A put O down", "A left O behind"],
        Kind.GIVE: ["A gave O to B", "A handed O to B", "A passed O to B"],
        Kind.MEET: ["A met B", "A saw B", "A talked to B"],
        Kind.FILLER: [
            "it was a <adj> <time>",
            "the <sky> was <weather>",
            "nobody said a word",
            "there was a <adj> <noise> far away",
            "the <adj> <time> seemed <mood>",
        ],
        Kind.END: ["the end"],
    },
    noun_phrases=("the o", "the C o"),
    pronouns=("he", "she"),
    connectives=["then", "soon", "later", "meanwhile", "suddenly", "finally"],
    stop=".",
    comma=",",
    bar="|",
    classes={
        "adj": """cold warm quiet long dark bright wet dry grim lovely dull windy foggy golden short gentle bitter pale
            silent dusty""".split(),
        "weather": "strong calm gentle gloomy lovely pale mild fierce".split(),
        "mood": "endless strange sad happy dreary peaceful".split(),
        "time": "day night morning evening afternoon winter summer autumn spring hour week month".split(),
        "sky": "wind sky rain moon sun breeze fog storm".split(),
        "noise": "noise song cry bark whistle thunder".split(),
    },
    forms={"be": ["was", "were"]},
    relatives=[
        Relative(Kind.IS_IN, "A , who was in the L2 ,"),
        Relative(Kind.HAS, "A , who had O2 ,"),
    ],
    zipf=0.6,
)
