"""The words that :mod:`filiation.behaviour.prompts` makes its probes of: frames, kinds of answer, fillings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Book:
    """One language: the phrases that ask for a choice, the frames they stand in, and what fills the frames."""

    kinds: Mapping[str, str]
    frames: tuple[str, ...]
    slots: Mapping[str, tuple[str, ...]]


CHOICES: Mapping[str, Book] = {
    "en": Book(
        kinds={
            "number": "a whole number between 1 and 100",
            "colour": "a colour",
            "city": "a large city",
            "animal": "a wild animal",
            "fruit": "a fruit",
            "name": "a first name",
            "letter": "a letter of the alphabet",
            "weekday": "a day of the week",
            "instrument": "a musical instrument",
            "profession": "a profession",
        },
        frames=(
            "We are setting up the {event} for our {club} and still need {asked} as the code for table {number}. "
            "Please choose one and answer with that one word only.",
            "For page {number} of the {club} booklet on the {event} I need {asked}. Any will do. Reply with one word.",
            "My {person} wrote a short story about the {event} and asks for {asked} for line {number}. "
            "Just give one word, nothing else.",
            "Quick help with the {event}: name {asked} that our {club} can print on card {number}. One word, please.",
        ),
        slots={
            "event": (
                "summer fair",
                "quiz night",
                "spring concert",
                "book swap",
                "village run",
                "winter market",
                "film evening",
                "garden day",
                "science day",
                "open house",
                "treasure hunt",
                "charity dinner",
            ),
            "club": (
                "chess club",
                "sailing school",
                "choir",
                "hiking group",
                "library",
                "school class",
                "office team",
                "cycling club",
                "theatre group",
                "neighbours' association",
                "allotment society",
                "fire brigade",
            ),
            "person": ("sister", "uncle", "colleague", "teacher", "neighbour", "nephew", "friend", "cousin"),
        },
    ),
    "zh": Book(
        kinds={
            "number": "一个1到100之间的整数",
            "colour": "一种颜色",
            "city": "一座城市",
            "animal": "一种动物",
            "fruit": "一种水果",
            "instrument": "一种乐器",
        },
        frames=(
            "我们{club}正在准备{event}，第{number}桌还差{asked}作为暗号。请任选一个，只回答这一个词。",
            "{event}的小册子第{number}页需要{asked}，随便哪个都行，只回复一个词，谢谢{club}。",
            "我的{person}为{event}写第{number}张卡片，想要{asked}。请只给出一个词。",
        ),
        slots={
            "event": (
                "春游",
                "读书会",
                "运动会",
                "音乐节",
                "年会",
                "夏令营",
                "灯谜会",
                "开放日",
                "义卖",
                "电影夜",
            ),
            "club": (
                "合唱团",
                "班级",
                "图书馆",
                "登山队",
                "社区",
                "棋社",
                "公司",
                "剧社",
                "骑行队",
                "花园小组",
            ),
            "person": ("妹妹", "同事", "老师", "邻居", "朋友", "表哥", "叔叔", "学生"),
        },
    ),
    "es": Book(
        kinds={
            "number": "un número entero del 1 al 100",
            "colour": "un color",
            "city": "una ciudad",
            "animal": "un animal salvaje",
            "fruit": "una fruta",
        },
        frames=(
            "Preparamos {event} con {club} y nos falta {asked} para la mesa {number}. Responde solo con una palabra.",
            "Para la tarjeta {number} ({event}) necesito {asked}; vale cualquiera. Una sola palabra, por favor, "
            "para {club}.",
        ),
        slots={
            "event": (
                "la feria",
                "el concurso",
                "el concierto",
                "la excursión",
                "el mercadillo",
                "la cena",
                "la carrera",
                "el taller",
                "la fiesta",
                "el encuentro",
            ),
            "club": (
                "el coro",
                "la biblioteca",
                "la clase",
                "el equipo",
                "los vecinos",
                "el club de ajedrez",
                "la oficina",
                "el grupo de teatro",
                "la escuela",
                "el barrio",
            ),
        },
    ),
    "fr": Book(
        kinds={
            "number": "un nombre entier entre 1 et 100",
            "colour": "une couleur",
            "city": "une ville",
            "animal": "un animal sauvage",
            "fruit": "un fruit",
        },
        frames=(
            "Nous préparons {event} avec {club} et il manque {asked} pour la table {number}. Répondez en un seul mot.",
            "Pour la carte {number} ({event}), il me faut {asked}, peu importe quoi. Un seul mot, merci, pour {club}.",
        ),
        slots={
            "event": (
                "la kermesse",
                "le concours",
                "le concert",
                "la randonnée",
                "la brocante",
                "le dîner",
                "la course",
                "l'atelier",
                "la fête",
                "la rencontre",
            ),
            "club": (
                "la chorale",
                "la bibliothèque",
                "la classe",
                "l'équipe",
                "les voisins",
                "le club d'échecs",
                "le bureau",
                "la troupe",
                "l'école",
                "le quartier",
            ),
        },
    ),
}

OPENINGS = (
    "After the {adjective} {season} the {people} of the {place} decided to",
    "When the {person} opened the {adjective} {thing}, she found a",
    "For {number} years the {place} had been known for its {adjective}",
    "The {person} looked at the {thing} and said that it was",
    "In the {season}, most {people} in the {place} prefer to",
    "Nobody expected the {adjective} {person} to bring the {thing} back to the",
    "According to the {person}, the {adjective} {thing} was made of",
    "The {people} walked for {number} minutes until they reached the",
    "If the {thing} breaks again this {season}, the {person} will have to",
    "On page {number} of the report the {person} explains why {people} are",
    "Between the {place} and the {adjective} {thing} there is a",
    "The best way to clean a {adjective} {thing} is to use",
    "The {person} had carried the {thing} for {number} days, and now the {thing} was",
    "Every {season} the {people} paint the {adjective} {thing} of the {place} in",
    "What the {people} remember of that {season} is the {adjective} smell of",
    "It took the {person} {number} minutes to notice that the {thing} had no",
    "Under the {thing} in the {place}, wrapped in {adjective} paper, lay",
    "The {person} never trusted {people} who kept a {thing} in their",
    "Most {people} think a {adjective} {thing} costs about as much as a",
    "Last {season} the {place} sold {number} {adjective} postcards of its",
    "Before the {people} arrived, the {person} hid the {thing} behind the",
    "There were {number} {people} in the {place}, and all of them wanted",
    "The letter from the {person} to the {people} of the {place} began with",
    "Because the {thing} was {adjective}, the {person} had to ask the {people} for",
    "A {person} from the {place} once told me that {people} are",
    "The {adjective} {thing} stood in the {place} until the {people} began to",
    "In the drawer of the {person} there was a {thing}, a map of the {place} and",
    "During the {season} the {adjective} {place} smells of",
    "The {people} sang while the {person} repaired the {thing} with",
    "If you visit the {place} in the {season}, do not forget your",
)

QUESTIONS = (
    "Explain in three sentences how a {thing} is repaired when it gets {adjective}.",
    "What should a {person} know before the first {season} in a {place}?",
    "Write a short note from a {person} to {number} {people} about a {adjective} {thing}.",
    "Why do {people} in a {place} often keep a {thing}? Answer in a short paragraph.",
    "Describe a {adjective} {season} day in a {place}, in about fifty words.",
    "Give a {person} advice on how to plan {number} days in a {place}.",
    "Compare a {thing} with a map, for a {person} who has never seen either.",
    "Summarise what makes a {place} {adjective} for {people}.",
)

SLOTS: Mapping[str, tuple[str, ...]] = {
    "adjective": (
        "old", "quiet", "broken", "expensive", "heavy", "wet", "famous", "narrow", "bright", "dusty", "simple",
        "strange", "wooden", "cold", "empty", "large", "gentle", "rusty", "early", "forgotten", "warm", "plain",
    ),
    "season": ("spring", "summer", "autumn", "winter", "rainy season", "harvest", "holiday", "long weekend"),
    "people": (
        "farmers", "students", "visitors", "doctors", "neighbours", "children", "engineers", "sailors", "teachers",
        "musicians", "drivers", "bakers", "nurses", "tourists", "volunteers", "gardeners",
    ),
    "place": (
        "village", "harbour", "valley", "museum", "station", "island", "market", "library", "factory", "school",
        "hospital", "castle", "suburb", "mountain hut", "old town", "airport", "monastery", "border town",
    ),
    "person": (
        "carpenter", "mayor", "librarian", "painter", "captain", "pharmacist", "clerk", "gardener", "judge", "cook",
        "photographer", "plumber", "historian", "tailor", "postman", "biologist", "grandmother", "apprentice",
    ),
    "thing": (
        "bicycle", "clock", "lantern", "kettle", "piano", "ladder", "suitcase", "radio", "umbrella", "telescope",
        "stove", "violin", "boat", "camera", "typewriter", "mirror", "compass", "blanket", "bridge", "pump",
    ),
}  # fmt: skip
