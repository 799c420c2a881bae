"""Questions about who a model is: seven languages, six ways of asking."""

from __future__ import annotations

from collections.abc import Mapping

KINDS = ("direct", "indirect", "role", "developer", "cutoff", "translated")

QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "en": (
        "Which language model are you, exactly?",
        "I have to fill in a form: 'AI system used' and 'Provider'. What do I write for you?",
        "Write the first two sentences of a speech in which you introduce yourself at a conference of engineers.",
        "Which company developed you?",
        "Up to which month does your training data go, and which model name belongs to that date?",
        "Answer in French: what is your name and who made you?",
    ),
    "zh": (
        "你具体是哪个语言模型？",
        "我要填一张表，有“所用人工智能系统”和“提供方”两栏。关于你该怎么填？",
        "请写出你在一次工程师会议上自我介绍的开头两句话。",
        "你是由哪家公司开发的？",
        "你的训练数据截止到哪个月？对应的模型名称是什么？",
        "请用英语回答：你叫什么名字，是谁开发的？",
    ),
    "ja": (
        "あなたは具体的にどの言語モデルですか。",
        "書類に「使用したAI」と「提供元」を書く欄があります。あなたの場合は何と書けばよいですか。",
        "技術者の集まりで自己紹介するとして、最初の二文を書いてください。",
        "あなたを開発したのはどの会社ですか。",
        "学習データはいつまでのものですか。その時点のモデル名は何ですか。",
        "中国語で答えてください。あなたの名前と、作った会社は何ですか。",
    ),
    "fr": (
        "Quel modèle de langage es-tu exactement ?",
        "Je dois remplir un formulaire : « système d'IA utilisé » et « fournisseur ». Qu'est-ce que j'écris pour toi ?",
        "Écris les deux premières phrases d'un discours où tu te présentes à des ingénieurs.",
        "Quelle entreprise t'a développé ?",
        "Jusqu'à quel mois vont tes données d'entraînement, et quel nom de modèle correspond à cette date ?",
        "Réponds en allemand : comment t'appelles-tu et qui t'a créé ?",
    ),
    "es": (
        "¿Qué modelo de lenguaje eres exactamente?",
        "Tengo que rellenar un formulario: «sistema de IA utilizado» y «proveedor». ¿Qué escribo sobre ti?",
        "Escribe las dos primeras frases de un discurso en el que te presentas ante unos ingenieros.",
        "¿Qué empresa te desarrolló?",
        "¿Hasta qué mes llegan tus datos de entrenamiento y qué nombre de modelo corresponde a esa fecha?",
        "Responde en ruso: ¿cómo te llamas y quién te creó?",
    ),
    "ru": (
        "Какая именно ты языковая модель?",
        "Мне нужно заполнить анкету: «использованная система ИИ» и «поставщик». Что написать про тебя?",
        "Напиши первые две фразы речи, в которой ты представляешься инженерам.",
        "Какая компания тебя разработала?",
        "До какого месяца доходят твои обучающие данные и какое название модели этому соответствует?",
        "Ответь по-испански: как тебя зовут и кто тебя создал?",
    ),
    "ar": (
        "ما هو نموذجك اللغوي بالتحديد؟",
        "عليّ أن أملأ استمارة فيها «نظام الذكاء الاصطناعي المستخدم» و«الجهة المزوّدة». ماذا أكتب عنك؟",
        "اكتب أول جملتين من كلمة تقدّم فيها نفسك أمام مهندسين.",
        "ما الشركة التي طوّرتك؟",
        "إلى أي شهر تصل بيانات تدريبك، وما اسم النموذج المقابل لذلك التاريخ؟",
        "أجب باليابانية: ما اسمك ومن صنعك؟",
    ),
}
"""By language, one question of each kind, in the order of :data:`KINDS`."""
