"""English verbs that begin a task, as parts of a regular expression."""

from __future__ import annotations

_WORDS = """
    write, explain, describe, list, make, draft, compare, calculate, work out, check,
    review, suggest, plan, create, design, find, summari[sz]e, translate, rewrite, outline,
    walk me, prepare, propose, estimate, show, tell, give, help, implement, fix, evaluate,
    analy[sz]e, discuss, identify, provide, generate, compute, solve, prove, classify, edit,
    convert, recommend, draw up, break down, go through, set up, build, choose, decide,
    correct, complete, answer, name, state, define, brainstorm, develop, construct, sort,
    arrange, format, simplify, shorten, paraphrase, rephrase, proofread, polish, critique,
    assess, rank, predict, imagine, pretend, act as, role-?play, continue, fill in, match,
    extract, categori[sz]e, label, detect, debug, refactor, optimi[sz]e, improve, verify,
    teach, determine, derive, remove, replace, return, print, cite, share, consider, assume,
    let's, let, add, expand, elaborate, illustrate, interpret, justify, formulate, compose,
    produce, combine, merge, select, pick, organi[sz]e, schedule, diagnose, troubleshoot,
    advise, multiply, divide, subtract, sum, simulate, factor, integrate, differentiate,
    reply to, respond to, recite, contrast, count, round, invent, adapt, annotate,
    transcribe, rate, score, use (?:the|this|these), turn (?:the|this|these|it)
"""
TASKS = tuple(" ".join(_WORDS.split()).split(", "))
