"""Every word of the gallery, charts, agreement, comparison and API pages, in English and French."""

from __future__ import annotations

from fastapi import Request

from edge.station.strings import Words, language_of

STRINGS: dict[str, tuple[str, str]] = {
    # the pages
    "queue": ("Queue", "File"),
    "gallery": ("Gallery", "Galerie"),
    "charts": ("Charts", "Graphiques"),
    "agreement": ("Agreement", "Concordance"),
    "compare": ("Two bundles", "Deux modèles"),
    "api": ("API", "API"),
    "pages": ("Pages", "Pages"),
    # the conditions
    "filter": ("Show", "Afficher"),
    "clear": ("Clear", "Effacer"),
    "since": ("From", "De"),
    "until": ("To", "À"),
    "lot": ("Lot", "Lot"),
    "part": ("Part", "Pièce"),
    "class": ("Class", "Classe"),
    "verdict": ("Verdict", "Verdict"),
    "source": ("Line", "Ligne"),
    "bundle": ("Bundle", "Modèle"),
    "reviewer": ("Reviewer", "Contrôleur"),
    "decision": ("Decision", "Décision"),
    "shift": ("Shift", "Équipe"),
    "shifts": ("Shifts begin at (hours)", "Début des équipes (heures)"),
    "by": ("One point is a", "Un point est"),
    "every": ("every", "tout"),
    "decision.any": ("reviewed", "contrôlée"),
    "decision.none": ("not reviewed", "non contrôlée"),
    "filters": ("Filters", "Filtres"),
    # the gallery
    "newer": ("Newer", "Plus récentes"),
    "older": ("Older", "Plus anciennes"),
    "nothing": (
        "No inspection is like that. Clear a filter, or look at other times.",
        "Aucun contrôle ne correspond. Effacer un filtre ou changer la période.",
    ),
    "no_picture": ("no picture", "pas d'image"),
    "nothing_measured": ("nothing measured", "rien de mesuré"),
    "no_lot": ("no lot", "sans lot"),
    "reviewed_times": ("reviews: {n}", "contrôles : {n}"),
    "pick": ("Choose {name}", "Choisir {name}"),
    "bulk": ("Decide on the chosen parts", "Décider des pièces choisies"),
    "bulk.hint": (
        "The next page lists them; nothing is saved before you confirm. At most {most}.",
        "La page suivante les montre ; rien n'est enregistré avant confirmation. {most} au plus.",
    ),
    "bulk.decision": ("They are", "Elles sont"),
    "bulk.class": ("Defect class, if NG", "Classe du défaut, si NG"),
    "bulk.note": ("Why (needed)", "Pourquoi (obligatoire)"),
    "bulk.look": ("Look at the list", "Voir la liste"),
    "bulk.title": ("Decide {decision} on {n} parts", "Décider {decision} pour {n} pièces"),
    "bulk.overruled": ("{n} of them overrule the model.", "{n} contredisent le modèle."),
    "bulk.again": ("{n} of them were reviewed before.", "{n} ont déjà été contrôlées."),
    "bulk.confirm": ("Save {n} reviews", "Enregistrer {n} contrôles"),
    "bulk.back": ("Back to the gallery", "Retour à la galerie"),
    "bulk.saved": ("{n} reviews were saved.", "{n} contrôles enregistrés."),
    "bulk.refused": ("NOT saved: {message}", "PAS enregistré : {message}"),
    "bulk.no_part": ("Not saved: choose at least one part.", "Choisir au moins une pièce."),
    "bulk.no_decision": ("Not saved: decide OK or NG.", "Pas enregistré : décider OK ou NG."),
    "bulk.no_note": (
        "Not saved: say why in the note, in at most 2000 letters.",
        "Pas enregistré : dire pourquoi dans la note, 2000 lettres au plus.",
    ),
    "bulk.no_class": (
        "Not saved: the bundle of one of these parts does not know that defect class.",
        "Pas enregistré : le modèle d'une des pièces ne connaît pas cette classe.",
    ),
    "bulk.stale": (
        "Nothing was saved: this page is from before a new start or login. Choose once more.",
        "Rien d'enregistré : page d'avant un redémarrage ou une connexion. Choisir de nouveau.",
    ),
    # the charts
    "csv": ("Data (CSV)", "Données (CSV)"),
    "period": (
        "{n} inspections from {since} to {until}",
        "{n} contrôles du {since} au {until}",
    ),
    "no_data": ("There is nothing to draw for these filters.", "Rien à tracer avec ces filtres."),
    "pareto": ("Defects by frequency (Pareto)", "Défauts par fréquence (Pareto)"),
    "pareto.hint": (
        "Parts that the model rejected or left to people, by the likeliest defect.",
        "Pièces refusées ou laissées aux personnes, selon le défaut le plus probable.",
    ),
    "control": ("Rejected share (p-chart)", "Part refusée (carte p)"),
    "control.hint": (
        "NG of all measured parts. Dashed: centre line and limits at 3 sigma, which follow the "
        "number of parts. Marked: rules of Western Electric.",
        "NG sur toutes les pièces mesurées. Tirets : moyenne et limites à 3 sigma, selon le "
        "nombre. Marqués : règles de Western Electric.",
    ),
    "rule": ("Rule {n}", "Règle {n}"),
    "rule.1": ("one point beyond 3 sigma", "un point au-delà de 3 sigma"),
    "rule.2": (
        "two of three in a row beyond 2 sigma, on one side",
        "deux de trois de suite au-delà de 2 sigma, d'un côté",
    ),
    "rule.3": (
        "four of five in a row beyond 1 sigma, on one side",
        "quatre de cinq de suite au-delà de 1 sigma, d'un côté",
    ),
    "rule.4": ("eight in a row on one side", "huit de suite d'un même côté"),
    "no_signal": ("No rule is broken.", "Aucune règle n'est enfreinte."),
    "estimates": ("Escape and overkill", "Défauts passés et faux rejets"),
    "escape": ("Escape", "Défauts passés"),
    "escape.hint": (
        "of the OK parts that chance drew for the audit and that were reviewed, those found NG",
        "des pièces OK tirées au sort et contrôlées, celles trouvées NG",
    ),
    "overkill": ("Overkill", "Faux rejets"),
    "overkill.hint": (
        "of the NG parts that were reviewed, those found OK",
        "des pièces NG contrôlées, celles trouvées OK",
    ),
    "rate_words": (
        "{count} of {n}; 95 % interval {low} to {high}",
        "{count} sur {n} ; intervalle à 95 % : {low} à {high}",
    ),
    "rate_none": ("not known: none was reviewed", "inconnu : aucune n'est contrôlée"),
    "throughput": ("Inspections per hour", "Contrôles par heure"),
    "drift": ("Defect score over time", "Score de défaut dans le temps"),
    "drift.hint": (
        "Tenth, half and nine tenths of the parts of each day (UTC). PSI: population stability "
        "index against the first day; from 0.1 a little moved, from 0.25 much.",
        "Dixième, moitié et neuf dixièmes des pièces de chaque jour (UTC). PSI : indice de "
        "stabilité par rapport au premier jour ; dès 0,1 un peu, dès 0,25 beaucoup.",
    ),
    "median": ("half", "moitié"),
    "count": ("Count", "Nombre"),
    "n": ("Parts", "Pièces"),
    "share": ("Share", "Part"),
    "sum": ("Together", "Cumul"),
    "rules": ("Rules", "Règles"),
    "psi": ("PSI", "PSI"),
    "day": ("day", "jour"),
    "hour": ("hour", "heure"),
    # agreement
    "agreement.hint": (
        "Parts that two or more people judged: {twice} of {parts} reviewed ones. What most decided "
        "counts as true; where they are split, what was decided last.",
        "Pièces jugées par deux personnes ou plus : {twice} sur {parts} contrôlées. L'avis de la "
        "majorité vaut vérité ; à égalité, la dernière décision.",
    ),
    "agreement.bias": (
        "Of the model it says only how it did on reviewed parts, most of which it had flagged "
        "itself: its escape is on the page of the charts.",
        "Du modèle, seules les pièces contrôlées sont vues, qu'il avait surtout signalées : ses "
        "défauts passés sont sur la page des graphiques.",
    ),
    "agreement.none": (
        "No part was judged by two people yet.",
        "Aucune pièce n'a encore été jugée par deux personnes.",
    ),
    "blind": ("Blind decisions only", "Décisions à l'aveugle seulement"),
    "blind.all": ("All decisions", "Toutes les décisions"),
    "blind.hint": (
        "Blind: the first decision on a part, and those made without sight of it.",
        "À l'aveugle : la première décision, et celles prises sans la voir.",
    ),
    "pairs": ("Two people (Cohen's kappa)", "Deux personnes (kappa de Cohen)"),
    "fleiss": ("All people (Fleiss' kappa)", "Toutes (kappa de Fleiss)"),
    "kappa": ("Kappa", "Kappa"),
    "observed": ("Agreed", "Accord"),
    "expected": ("By chance", "Au hasard"),
    "interval": ("95 % interval", "Intervalle à 95 %"),
    "both_ng": ("Both NG", "NG tous deux"),
    "first_ng": ("Only the first", "Le premier seul"),
    "second_ng": ("Only the second", "Le second seul"),
    "both_ok": ("Both OK", "OK tous deux"),
    "raters": ("Misses and false alarms", "Oublis et fausses alertes"),
    "rater": ("Who", "Qui"),
    "miss": ("Miss", "Oubli"),
    "false_alarm": ("False alarm", "Fausse alerte"),
    "model": ("the model", "le modèle"),
    "undefined": ("not defined", "non défini"),
    # two bundles
    "compare.hint": (
        "Both bundles judge the kept pictures of reviewed parts anew. A flip is a part on which "
        "their verdicts differ.",
        "Les deux modèles jugent de nouveau les images gardées des pièces contrôlées. Un écart est "
        "une pièce où leurs verdicts diffèrent.",
    ),
    "compare.none": (
        "Start the station with --compare A.tflite B.tflite to compare two bundles.",
        "Démarrer le poste avec --compare A.tflite B.tflite pour comparer deux modèles.",
    ),
    "compare.n": (
        "{n} reviewed parts with a picture; {skipped} could not be judged by both.",
        "{n} pièces contrôlées avec image ; {skipped} non jugées par les deux.",
    ),
    "compare.right": ("right", "juste"),
    "compare.wrong": ("wrong", "faux"),
    "compare.both_right": ("Both right", "Justes tous deux"),
    "compare.first": ("Only A right", "A seul juste"),
    "compare.second": ("Only B right", "B seul juste"),
    "compare.neither": ("Neither right", "Aucun juste"),
    "compare.p": (
        "McNemar's exact test: p = {p}",
        "Test exact de McNemar : p = {p}",
    ),
    "compare.left": ("{n} are not judged yet.", "{n} ne sont pas encore jugées."),
    "compare.go_on": ("Go on", "Continuer"),
    "compare.flips": ("Flips", "Écarts"),
    "compare.no_flips": ("They never differ.", "Ils ne diffèrent jamais."),
    "compare.more": ("The first {n} of {all}.", "Les {n} premiers sur {all}."),
    "said": ("{name} says {verdict}", "{name} dit {verdict}"),
    "review_says": ("the review says {decision}", "le contrôle dit {decision}"),
    # the API
    "api.hint": (
        "JSON for programs. The same rights as for people; a program sends its token as "
        "Authorization: Bearer TOKEN.",
        "JSON pour les programmes. Mêmes droits que les personnes ; un programme envoie son jeton "
        "par Authorization: Bearer JETON.",
    ),
    "api.document": ("OpenAPI document", "Document OpenAPI"),
    "api.does": ("Does", "Fait"),
    "api.parameters": ("Parameters", "Paramètres"),
}


class ChartWords(Words):
    """The strings of these pages in one language, and numbers as it writes them."""

    strings = STRINGS

    def percent(self, share: float | None) -> str:
        """A share for a person to read."""
        if share is None:
            return "-"
        digits = 1 if share >= 0.1 else 2 if share >= 0.001 or share == 0 else 3
        text = f"{100 * share:.{digits}f} %"
        return text if self.language == "en" else text.replace(".", ",")


def words_of(request: Request) -> ChartWords:
    """The strings in the person's language."""
    return ChartWords(language_of(request))
