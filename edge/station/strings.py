"""Every word that the station's screens say, in English and in French.

What the line wrote (the reason of a verdict, the name of a class) and what a person wrote is shown
as it stands in the journal.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from fastapi import Request

from edge.station.strings_people import PEOPLE
from edge.station.strings_refused import REFUSED

Language = Literal["en", "fr"]

COOKIE = "qc_language"
"""A person's choice, where it is not the browser's."""

STRINGS: dict[str, tuple[str, str]] = {
    # every page
    "title": ("Review station", "Poste de contrôle"),
    "skip_to_main": ("Go to the content", "Aller au contenu"),
    "home": ("Review station", "Poste de contrôle"),
    "other_language": ("Français", "English"),
    "research": ("Research mode: not for diagnostic use", "Recherche : pas d'usage diagnostique"),
    "broken_sum": (
        "The journal does not add up: {captured} frames were captured, but {sum} are accounted "
        "for. Do not trust this journal until this is explained.",
        "Le compte du journal est faux : {captured} images saisies, {sum} retrouvées. Ne pas se "
        "fier à ce journal tant que ce n'est pas expliqué.",
    ),
    "who": ("You", "Vous"),
    "who.second": ("{n} for a second look", "{n} à revoir"),
    "who.trail": ("Trail", "Historique"),
    "who.people": ("People", "Personnes"),
    "who.out": ("Log out", "Se déconnecter"),
    "who.alone": ("alone on this machine, without login", "seul sur cette machine, sans connexion"),
    "back": ("Back to the queue", "Retour à la file"),
    "error.401": ("Log in first", "Se connecter d'abord"),
    "error.429": ("Too often", "Trop souvent"),
    "error.403": ("Refused", "Refusé"),
    "error.404": ("Not found", "Introuvable"),
    "error.409": ("Somebody was quicker", "Quelqu'un a été plus rapide"),
    "error.422": ("Not understood", "Non compris"),
    "error.503": ("The journal cannot be used now", "Journal inutilisable pour le moment"),
    "error.other": ("This did not work", "Cela n'a pas marché"),
    # the queue
    "queue.title": ("{total} parts", "{total} pièces"),
    "queue.counts": ("Frames of this journal", "Images de ce journal"),
    "queue.captured": ("captured", "saisies"),
    "queue.dropped": ("dropped", "perdues"),
    "queue.filters": ("Filters", "Filtres"),
    "queue.waiting": ("Waiting", "En attente"),
    "queue.reviewed": ("Reviewed", "Contrôlées"),
    "queue.all": ("All", "Toutes"),
    "queue.every": ("Every verdict", "Tous verdicts"),
    "queue.audit": ("OK, audit", "OK, audit"),
    "queue.none_waiting": ("No part is waiting for review.", "Aucune pièce n'attend de contrôle."),
    "queue.none": ("No part here.", "Aucune pièce ici."),
    "queue.start": ("Review", "Contrôler"),
    "queue.dataset": ("Data set", "Jeu de données"),
    "queue.pages": ("Pages", "Pages"),
    "queue.newer": ("Newer", "Plus récentes"),
    "queue.earlier": ("Before", "Précédentes"),
    "queue.later": ("Next", "Suivantes"),
    "queue.range": ("{first} to {last} of {total}", "{first} à {last} sur {total}"),
    "queue.seen_once": ("reviewed", "contrôlée"),
    "queue.seen": ("reviewed {n} times", "contrôlée {n} fois"),
    "no_picture": ("no picture", "pas d'image"),
    "not_measured": ("nothing measured", "rien de mesuré"),
    "lot": ("lot {lot}", "lot {lot}"),
    "no_lot": ("no lot", "sans lot"),
    "frame": ("frame {frame_id}", "image {frame_id}"),
    # the bar of a part
    "part.waiting": ("{n} waiting", "{n} en attente"),
    "part.skip": ("Skip", "Passer"),
    "part.next": ("Next waiting", "Suivante"),
    "part.help": ("Keys", "Touches"),
    "saved": (
        "Saved: {name} is {decision}, by {reviewer}",
        "Noté : {name} est {decision}, par {reviewer}",
    ),
    "taken_back": (
        "Taken back by {reviewer}: {name} waits again",
        "Annulé par {reviewer} : {name} attend de nouveau",
    ),
    "undo": ("Undo", "Annuler"),
    # the picture
    "picture": ("Picture", "Image"),
    "picture.alt": ("The picture of this part could not be shown", "L'image ne peut être affichée"),
    "picture.none": ("There is no picture of this part.", "Il n'y a pas d'image de cette pièce."),
    "picture.why_none": (
        "It was not kept in the journal, or it is missing from the journal's folder.",
        "Elle n'a pas été gardée, ou elle manque dans le dossier du journal.",
    ),
    "tools": ("View and marks", "Vue et marques"),
    "tool.heat": ("Map", "Carte"),
    "tool.contour": ("Outline", "Contour"),
    "tool.side": ("Side by side", "Côte à côte"),
    "tool.fit": ("Fit", "Ajuster"),
    "tool.in": ("Larger", "Agrandir"),
    "tool.out": ("Smaller", "Réduire"),
    "tool.box": ("Box", "Cadre"),
    "tool.brush": ("Brush", "Pinceau"),
    "tool.eraser": ("Eraser", "Gomme"),
    "tool.clear": ("Clear", "Effacer"),
    "tool.window": ("Grey window", "Fenêtre de gris"),
    "tool.judged": ("As judged", "Tel que jugé"),
    "tool.brush_size": ("Brush size", "Taille du pinceau"),
    "map.model": ("Where the model looked", "Où le modèle a regardé"),
    "map.occlusion": ("Occlusion map", "Carte d'occlusion"),
    "map.scale": ("colours from low to high evidence", "couleurs, d'indice faible à fort"),
    "map.hint": (
        "Class evidence on the bundle's fixed scale. It is not an outline of the defect.",
        "Indices de la classe, sur l'échelle fixe du modèle. Ce n'est pas le contour du défaut.",
    ),
    "map.occlusion_hint": (
        "The model has no map of its own: it was asked again with a grey patch over one place "
        "after the other. It is not an outline of the defect.",
        "Le modèle n'a pas de carte : il a été interrogé avec un carré gris posé de place en "
        "place. Ce n'est pas le contour du défaut.",
    ),
    "map.draw": ("Draw an occlusion map", "Tracer une carte d'occlusion"),
    "map.no_map": (
        "No map: the model gave none for this part.",
        "Pas de carte : le modèle n'en a pas donné pour cette pièce.",
    ),
    "map.not_finite": (
        "No map: it holds numbers that are not finite.",
        "Pas de carte : elle contient des nombres non finis.",
    ),
    "map.no_scale": (
        "No map: the journal does not hold the bundle's scale.",
        "Pas de carte : le journal n'a pas l'échelle du modèle.",
    ),
    "window.words": (
        "Level {level}, width {width}, of 0 to 255: the kept picture has 8 bits",
        "Niveau {level}, largeur {width}, de 0 à 255 : l'image gardée a 8 bits",
    ),
    "window.deep": (
        "Level {level}, width {width}, of 0 to 65535",
        "Niveau {level}, largeur {width}, de 0 à 65535",
    ),
    "strip": ("Parts of the same lot", "Pièces du même lot"),
    "strip.here": ("this part", "cette pièce"),
    # the decision
    "decide": ("Your decision", "Votre décision"),
    "decide.as": ("as {name}", "par {name}"),
    "decide.blind": (
        "A blind second look: somebody decided on this part before, and you are not shown what.",
        "Second regard à l'aveugle : quelqu'un a déjà décidé, et cela ne vous est pas montré.",
    ),
    "decide.class": ("Defect class, if it is NG", "Classe du défaut, si NG"),
    "decide.another": ("another (name it in the note)", "autre (à nommer dans la note)"),
    "decide.reason": ("Reason, if you overrule", "Motif, si vous rejetez le verdict"),
    "decide.ask_reason": ("Why is it OK?", "Pourquoi est-elle OK ?"),
    "decide.no_reason": ("none", "aucun"),
    "decide.note": ("Note", "Note"),
    "decide.mask": ("A mask is drawn; it is saved with NG.", "Masque tracé ; gardé avec NG."),
    "decide.may_not": ("You may look, but not decide.", "Vous pouvez regarder, pas décider."),
    "confirm": ("Confirm", "Confirmer"),
    "overrule": ("Overrule", "Rejeter le verdict"),
    "it_is_NG": ("It is NG", "Elle est NG"),
    "it_is_OK": ("It is OK", "Elle est OK"),
    "reject": ("reject the part", "refuser la pièce"),
    "accept": ("accept the part", "accepter la pièce"),
    "reason.dust": ("dust or dirt, no defect", "poussière ou saleté, pas de défaut"),
    "reason.light": ("glare or shadow", "reflet ou ombre"),
    "reason.tolerance": ("within tolerance", "dans la tolérance"),
    "reason.outside": ("outside the part", "hors de la pièce"),
    "reason.other": ("another (see the note)", "autre (voir la note)"),
    # what is wrong with a decision
    "wrong.stale": (
        "The review was NOT saved: this page was made before the station was started again. Check "
        "what stands below and decide once more.",
        "PAS enregistré : cette page date d'avant le redémarrage du poste. Vérifier ce qui suit et "
        "décider encore une fois.",
    ),
    "wrong.meanwhile": (
        "The review was NOT saved: {message}. Look again and decide once more.",
        "PAS enregistré : {message}. Regarder de nouveau et décider encore une fois.",
    ),
    "wrong.journal": ("The review was NOT saved: {message}", "PAS enregistré : {message}"),
    "wrong.decision": ("Not saved: decide OK or NG.", "Pas enregistré : décider OK ou NG."),
    "wrong.note": (
        "Not saved: at most {most} letters of note.",
        "Pas enregistré : la note a {most} lettres au plus.",
    ),
    "wrong.class": (
        "Not saved: the bundle knows no defect class {name}.",
        "Pas enregistré : le modèle n'a pas de classe {name}.",
    ),
    "wrong.no_class": (
        "Not saved: choose the defect class, or name the defect in the note.",
        "Pas enregistré : choisir la classe, ou nommer le défaut dans la note.",
    ),
    "wrong.no_reason": (
        "Not saved: say why you overrule, by a reason or a note.",
        "Pas enregistré : dire pourquoi, par un motif ou une note.",
    ),
    "wrong.mask": (
        "Not saved: the mask that goes with it is not kept here. Draw it again.",
        "Pas enregistré : le masque n'est pas gardé ici. Le tracer de nouveau.",
    ),
    "wrong.undo": (
        "Nothing to take back: the last review of this part is not yours.",
        "Rien à annuler : le dernier contrôle de cette pièce n'est pas de vous.",
    ),
    "wrong.network": (
        "NOT saved: the station does not answer.",
        "PAS enregistré : le poste ne répond pas.",
    ),
    # beside the picture
    "reviews": ("Earlier reviews", "Contrôles précédents"),
    "reviews.none": ("none yet", "aucun"),
    "reviews.masked": ("with a mask", "avec un masque"),
    "review.back": ("taken back", "annulé"),
    "why": ("Why this verdict", "Pourquoi ce verdict"),
    "gauge.ok": ("OK below {low}", "OK sous {low}"),
    "gauge.score": ("defect score {score}", "score de défaut {score}"),
    "gauge.ng": ("NG from {high}", "NG dès {high}"),
    "gauge.never": ("NG only by a person", "NG par une personne seule"),
    "scores.class": ("Class", "Classe"),
    "scores.score": ("Score", "Score"),
    "scores.low": ("OK below", "OK sous"),
    "scores.high": ("NG from", "NG dès"),
    "scores.good": ("(good)", "(bonne)"),
    "scores.never": ("never", "jamais"),
    "scores.hint": (
        "Defect score = 1 - score of {good}; the thresholds are those of the likeliest defect.",
        "Score de défaut = 1 - score de {good} ; seuils du défaut le plus probable.",
    ),
    "scores.none": ("No score was measured.", "Aucun score n'a été mesuré."),
    "not_a_number": ("not a number", "pas un nombre"),
    "none": ("none", "aucun"),
    "record": ("Record", "Fiche"),
    "record.reviews": ("Reviews", "Contrôles"),
    "record.lot": ("Lot", "Lot"),
    "record.inspection": ("Inspection", "Inspection"),
    "record.frame": ("Frame", "Image"),
    "record.source": ("{frame_id} from {source_id}", "{frame_id} de {source_id}"),
    "record.captured": ("Captured", "Saisie"),
    "record.bundle": ("Bundle", "Modèle"),
    "record.time": ("Time: {name}", "Durée : {name}"),
    "severity.critical": ("critical", "critique"),
    "severity.major": ("major", "majeur"),
    "severity.minor": ("minor", "mineur"),
    # the page of keys
    "keys": ("Keys", "Touches"),
    "keys.close": ("Close", "Fermer"),
    "keys.ok": ("it is OK", "elle est OK"),
    "keys.ng": ("it is NG, of the class that is chosen", "elle est NG, de la classe choisie"),
    "keys.class": ("it is NG, of this class", "elle est NG, de cette classe"),
    "keys.reason": (
        "after O on a rejected part: the reason",
        "après O sur une pièce NG : le motif",
    ),
    "keys.skip": ("skip", "passer"),
    "keys.undo": ("undo the last decision", "annuler la dernière décision"),
    "keys.note": ("write a note; Esc leaves it", "écrire une note ; Échap en sort"),
    "keys.lot": ("part before and after in the lot", "pièce précédente et suivante du lot"),
    "keys.queue": ("the queue", "la file"),
    "keys.heat": ("map on or off", "carte visible ou non"),
    "keys.opacity": ("map fainter or stronger", "carte plus faible ou plus forte"),
    "keys.contour": ("outline on or off", "contour visible ou non"),
    "keys.side": ("side by side", "côte à côte"),
    "keys.zoom": (
        "larger, smaller, fit; the wheel too",
        "agrandir, réduire, ajuster ; molette aussi",
    ),
    "keys.box": ("mark a box", "tracer un cadre"),
    "keys.brush": ("brush the defect", "peindre le défaut"),
    "keys.eraser": ("eraser", "gomme"),
    "keys.size": ("brush smaller or larger", "pinceau plus fin ou plus gros"),
    "keys.clear": ("clear the mask", "effacer le masque"),
    "keys.window": ("grey window: drag for level and width", "fenêtre de gris : glisser la souris"),
    "keys.judged": ("greys as the model saw them", "gris tels que le modèle les a vus"),
    "keys.help": ("this page", "cette page"),
}


STRINGS.update(PEOPLE | REFUSED)


class Words:
    """The strings in one language.

    Args:
        language: which.
    """

    strings: ClassVar[dict[str, tuple[str, str]]] = STRINGS

    def __init__(self, language: Language) -> None:
        self.language = language

    def __call__(self, key: str, **values: object) -> str:
        """One string with its values put in; an unknown key raises KeyError."""
        text = self.strings[key][0 if self.language == "en" else 1]
        return text.format(**values) if values else text


def language_of(request: Request) -> Language:
    """The person's choice, else that of their account, else what the browser asks for."""
    user = getattr(request.state, "user", None)
    told = [request.cookies.get(COOKIE, ""), getattr(user, "language", None)]
    asked = request.headers.get("accept-language", "").split(",")
    for name in [*told, *(entry.partition(";")[0].strip() for entry in asked)]:
        if name and name[:2].lower() in ("en", "fr"):
            return "fr" if name[:2].lower() == "fr" else "en"
    return "en"
