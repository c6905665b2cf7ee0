"""What the station refuses and what it did, in English and in French."""

from __future__ import annotations

REFUSED: dict[str, tuple[str, str]] = {
    # any page
    "refused.page": ("There is no such page.", "Cette page n'existe pas."),
    "refused.part": (
        "The journal has no such inspection: {found}",
        "Le journal n'a pas ce contrôle : {found}",
    ),
    "refused.login": ("Log in first.", "Se connecter d'abord."),
    "refused.role": (
        "Your role ({role}) may not do this.",
        "Votre rôle ({role}) ne le permet pas.",
    ),
    "refused.token": ("A token may not do this.", "Un jeton ne le permet pas."),
    "refused.no_token": (
        "A token is expected: Authorization: Bearer TOKEN.",
        "Un jeton est attendu : Authorization: Bearer JETON.",
    ),
    "refused.site": (
        "The form came from another site. Nothing was saved.",
        "Le formulaire vient d'un autre site. Rien n'est enregistré.",
    ),
    "refused.kind": (
        "The form came in a format that is not read.",
        "Le format du formulaire n'est pas lu.",
    ),
    "refused.fields": ("The form has too many fields.", "Le formulaire a trop de champs."),
    "refused.size": (
        "The form is larger than {most} bytes.",
        "Le formulaire dépasse {most} octets.",
    ),
    "refused.form": (
        "The form asks for nothing that is known.",
        "Le formulaire ne demande rien de connu.",
    ),
    "refused.address": (
        "The address is not understood: {found}",
        "L'adresse n'est pas comprise : {found}",
    ),
    "refused.moment": (
        "{name}: a time such as 2025-03-04T09:30 is expected.",
        "{name} : une date comme 2025-03-04T09:30 est attendue.",
    ),
    "refused.shifts": (
        "shifts: three hours in order are expected, such as 6,14,22.",
        "shifts : trois heures dans l'ordre sont attendues, comme 6,14,22.",
    ),
    "refused.language": ("The language was not changed.", "La langue n'est pas changée."),
    "refused.compare": (
        "The station was started without two bundles to compare (--compare A B).",
        "Le poste a été démarré sans deux modèles à comparer (--compare A B).",
    ),
    "refused.walking": (
        "The chain is being verified already. Try again when that is done.",
        "La chaîne est déjà en cours de vérification. Réessayer ensuite.",
    ),
    # decisions
    "refused.parts": ("At most {most} parts at once.", "{most} pièces au plus à la fois."),
    "refused.class": (
        "defect_class: one of the bundle's is expected, with NG.",
        "defect_class : une classe du modèle est attendue, avec NG.",
    ),
    "refused.mask_with_ok": (
        "mask_sha256: a mask goes with NG.",
        "mask_sha256 : un masque va avec NG.",
    ),
    "refused.mask": (
        "mask_sha256: no such mask is kept.",
        "mask_sha256 : ce masque n'est pas gardé.",
    ),
    "refused.mask_size": (
        "The mask is {mask}, the picture {picture}.",
        "Le masque fait {mask}, l'image {picture}.",
    ),
    "refused.mask_empty": ("Nothing is drawn in the mask.", "Rien n'est tracé dans le masque."),
    "refused.window": (
        "A grey window goes from a lower to a higher grey, not from {low} to {high}.",
        "Une fenêtre va d'un gris plus bas à un gris plus haut, non de {low} à {high}.",
    ),
    # login and account
    "login.wrong": (
        "The name or the password is wrong.",
        "Le nom ou le mot de passe est faux.",
    ),
    "login.stale": (
        "This page was open too long, or cookies are off. Nothing was done: try again.",
        "Page ouverte trop longtemps, ou cookies refusés. Rien n'est fait : réessayer.",
    ),
    "login.wait": (
        "Too many wrong tries. Try again in {wait}.",
        "Trop d'essais faux. Réessayer dans {wait}.",
    ),
    "account.not_changed": ("Not changed: {message}", "Pas changé : {message}"),
    "account.not_same": (
        "The two new passwords are not the same.",
        "Les deux nouveaux mots de passe diffèrent.",
    ),
    # people and tokens
    "people.not_done": ("Not done: {message}.", "Pas fait : {message}."),
    "people.added": ("{name} was added.", "{name} est ajouté."),
    "people.disabled": ("{name} was disabled.", "{name} est désactivé."),
    "people.enabled": ("{name} was enabled.", "{name} est réactivé."),
    "people.has_role": ("{name} has the role {role}.", "{name} a le rôle {role}."),
    "people.has_password": ("{name} has a new password.", "{name} a un nouveau mot de passe."),
    "people.not_oneself": (
        "an engineer changes another person, not oneself",
        "un ingénieur change une autre personne, pas lui-même",
    ),
    "people.nobody": ("nobody is called '{name}'", "personne ne s'appelle « {name} »"),
    "people.nobody_near": (
        "nobody is called '{name}', did you mean '{near}'?",
        "personne ne s'appelle « {name} » ; peut-être « {near} » ?",
    ),
    "people.there": ("'{name}' is there already", "« {name} » existe déjà"),
    "people.bad_name": (
        "the name cannot be taken; expected 1 to {most} printable characters, not ending with "
        "'{mark}'; found {found}",
        "ce nom ne convient pas ; attendu de 1 à {most} caractères imprimables, sans « {mark} » à "
        "la fin ; trouvé {found}",
    ),
    "people.bad_password": (
        "the password cannot be taken; expected {least} to {most} characters; found {found}",
        "ce mot de passe ne convient pas ; attendu de {least} à {most} caractères ; trouvé {found}",
    ),
    "people.no_role": (
        "there is no role '{found}'; expected one of {known}",
        "le rôle « {found} » n'existe pas ; attendu : {known}",
    ),
    "people.no_role_near": (
        "there is no role '{found}', did you mean '{near}'?; expected one of {known}",
        "le rôle « {found} » n'existe pas ; peut-être « {near} » ? ; attendu : {known}",
    ),
    "tokens.of": ("The token of {name}:", "Le jeton de {name} :"),
    "tokens.gone": ("The token was revoked.", "Le jeton est révoqué."),
    "tokens.bad_role": (
        "a token cannot have the role '{found}'; expected one of {known}",
        "un jeton ne peut pas avoir le rôle « {found} » ; attendu : {known}",
    ),
    "tokens.there": ("there is a token '{name}' already", "le jeton « {name} » existe déjà"),
    "tokens.unknown": ("there is no such token; found {found}", "ce jeton n'existe pas : {found}"),
}
